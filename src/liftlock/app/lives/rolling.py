"""`rolling`: one database for two releases."""

from __future__ import annotations

from pathlib import Path

from liftlock.app import rolling
from liftlock.app.lives.interface import Run, Wishes
from liftlock.app.lives.stopping import refuse_moment
from liftlock.app.since import WritesSince, nothing_lost
from liftlock.app.workspace import Workspace
from liftlock.engine.interface import Payload, Step
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.plan import Plan
from liftlock.releases.tools import Heads


class Rolling:
    """See `interface.Life`."""

    window = True
    half_way = False

    def chosen(self, workspace: Workspace, plan: Plan, wishes: Wishes) -> Payload:
        """The places of two servers, and the old revision."""
        refuse_moment(plan, wishes)
        return {"rolling": to_builtins(rolling.Settings.choose(workspace, wishes.stay))}

    def there(self, run: Run, heads: Heads) -> tuple[Step, ...]:
        """As `app.rolling` has them."""
        return rolling.upgrade_steps(
            run.began, run.plan, heads, _settings(run), run.directory, run.handle, run.original
        )

    def back(self, run: Run, rollback: Run, *, old_python: Path) -> tuple[Step, ...]:
        """As `app.rolling` has them."""
        return rolling.rollback_steps(
            run.began,
            run.plan.jump,
            _settings(run),
            rollback.directory,
            old_python=old_python,
            running=rollback.began.config,
            current=rollback.original,
            earlier=run.outcomes,
        )

    def since(self, run: Run) -> WritesSince:
        """Both releases use one database."""
        return nothing_lost(run.state)

    def finalize(self, run: Run) -> None:
        """The old release's version table goes."""
        rolling.finalize(run.workspace)

    def stays(self, run: Run) -> str:
        """The schema, once it is migrated."""
        return rolling.STAYS if rolling.stays_migrated(run.workspace, _settings(run)) else ""


def _settings(run: Run) -> rolling.Settings:
    return from_builtins(run.state.payload["rolling"], rolling.Settings)


LIFE = Rolling()
