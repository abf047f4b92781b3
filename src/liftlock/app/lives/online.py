"""`online`: two databases, two servers, and a gate between them and everybody."""

from __future__ import annotations

from pathlib import Path

from liftlock.app import online, online_steps
from liftlock.app.lives.interface import Run, Wishes
from liftlock.app.since import WritesSince, captured_since
from liftlock.app.workspace import Workspace
from liftlock.describe.config import Config
from liftlock.engine.interface import Payload, Step
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.plan import Plan
from liftlock.releases.tools import Heads
from liftlock.steps.sides import Sides


class Online:
    """See `interface.Life`."""

    window = True
    half_way = False

    def chosen(self, workspace: Workspace, plan: Plan, wishes: Wishes) -> Payload:
        """The new server's place, the moment, the load."""
        return {"online": to_builtins(online.Settings.choose(workspace.config, wishes.when, wishes.load))}

    def there(self, run: Run, heads: Heads) -> tuple[Step, ...]:
        """As `online_steps` has them."""
        return online_steps.upgrade_steps(
            sides(run), run.began, run.plan, heads, _settings(run), run.directory, run.original
        )

    def back(self, run: Run, rollback: Run, *, old_python: Path) -> tuple[Step, ...]:
        """As `online_steps` has them."""
        return online_steps.rollback_steps(
            sides(run, running=rollback.began.config),
            run.began,
            _settings(run),
            old_python=old_python,
            current=rollback.original,
            original=run.original,
        )

    def since(self, run: Run) -> WritesSince:
        """Carried back."""
        return captured_since(sides(run), run.state)

    def finalize(self, run: Run) -> None:
        """The old databases go into a backup, capture ends."""
        online_steps.finalize(sides(run), run.state, directory=run.workspace.config.backup_directory)

    def stays(self, run: Run) -> str:
        """Nothing."""
        return ""


def sides(run: Run, *, running: Config | None = None) -> Sides:
    """Both sides of an online upgrade, from what it began with. `running` is liftlock.toml as it was after it."""
    return online.sides(
        run.began, run.plan.jump, _settings(run), run.directory, run.handle, running=running, earlier=run.outcomes
    )


def _settings(run: Run) -> online.Settings:
    return from_builtins(run.state.payload["online"], online.Settings)


LIFE = Online()
