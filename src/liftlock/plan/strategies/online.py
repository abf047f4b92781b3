"""`online`: a second, migrated database kept equal while people write, then one switch of the gate."""

from __future__ import annotations

from liftlock.model.plan import Reversibility, Strategy
from liftlock.plan.situation import Situation
from liftlock.plan.strategies.interface import Outline

STRATEGY = Strategy.ONLINE
POINT_OF_NO_RETURN = "none: after cut-over, writes are carried back as well"


def offered(situation: Situation) -> str:
    """Where a gate stands, the schema changes, and every revision is known to be translatable; else why not."""
    if not situation.jump.tracking and not situation.jump.auth:
        return "no migration lies between the releases, a restart is enough"
    if not situation.gate:
        return "no gate stands in front of the server (`liftlock gate install` puts one there, with one restart)"
    return "; ".join(situation.online_obstacles)


def outline(situation: Situation) -> tuple[Outline, ...]:
    """The steps, in order. Writes are held in `cut-over` alone."""
    source, target = situation.jump.source, situation.jump.target
    roles = [store.role for store in situation.deployment.stores]
    undo = Reversibility.UNDO
    return (
        Outline("build-environments", "build and prove both releases' environments", undo, False),
        Outline("back-up", "back up everything, restore it elsewhere and compare", undo, False),
        Outline("capture", "capture what people change from now on", undo, False),
        *(
            Outline(f"migrate-{role.value}", f"copy the {role.value} database and migrate it", undo, False)
            for role in roles
        ),
        Outline("capture-back", "prepare the way back", undo, False),
        Outline("start-new", f"start MLflow {target} beside {source}", undo, False),
        Outline("converge", "bring over what changed meanwhile", undo, False),
        Outline("verify-aligned", "compare every row while people write", undo, False),
        Outline("cut-over", "hold writes, bring over the rest, switch", undo, True),
        Outline("unpark", "bring back what an earlier rollback parked", undo, False),
        Outline("stop-old", f"stop MLflow {source}", undo, False),
        Outline("verify-live", "verify the running server with real clients", undo, False),
        Outline("record-gate", "record which server is behind the gate", undo, False),
        Outline("record", "record the new release in liftlock.toml", undo, False),
    )
