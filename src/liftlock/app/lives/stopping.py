"""`standard` and `in-place`: one server stops, the other starts."""

from __future__ import annotations

from pathlib import Path

from liftlock.app import assemble, rolling
from liftlock.app.lives.interface import Run, Wishes
from liftlock.app.since import WritesSince, writes_since
from liftlock.app.sites import live_site
from liftlock.app.workspace import Workspace
from liftlock.engine.interface import Payload, Step
from liftlock.errors import UsageError
from liftlock.model.plan import Plan, Strategy
from liftlock.online.control import Moment
from liftlock.releases.tools import Heads


class Stopping:
    """See `interface.Life`."""

    window = False
    half_way = True

    def chosen(self, workspace: Workspace, plan: Plan, wishes: Wishes) -> Payload:
        """Nothing is to be chosen."""
        refuse_moment(plan, wishes)
        return {}

    def there(self, run: Run, heads: Heads) -> tuple[Step, ...]:
        """As `assemble` has them."""
        site = live_site(run.began, run.plan.jump, run.handle)
        return assemble.upgrade_steps(site, run.plan, heads, run.began.config, run.original)

    def back(self, run: Run, rollback: Run, *, old_python: Path) -> tuple[Step, ...]:
        """As `assemble` has them."""
        return assemble.rollback_steps(
            live_site(run.began, run.plan.jump, rollback.handle),
            upgrade=run.state,
            old_python=old_python,
            running=rollback.began.config,
            current=rollback.original,
            original=run.original,
            in_place=run.plan.strategy is Strategy.IN_PLACE,
        )

    def since(self, run: Run) -> WritesSince:
        """Saved in a backup, not carried back."""
        return writes_since(run.workspace, run.state)

    def finalize(self, run: Run) -> None:
        """Only what a rolling upgrade before it may have left for the release that is gone now."""
        rolling.finalize(run.workspace)

    def stays(self, run: Run) -> str:
        """Nothing."""
        return ""


def refuse_moment(plan: Plan, wishes: Wishes) -> None:
    """Raise UsageError where a moment to cut over was named for an upgrade that has none to choose."""
    if wishes.when.moment is Moment.AUTO:
        return
    why = plan.not_offered.get(Strategy.ONLINE.value, "another strategy was asked for")
    raise UsageError(
        f"a moment to cut over was named, but this upgrade is {plan.strategy.value}", hint=f"Why not online: {why}"
    )


LIFE = Stopping()
