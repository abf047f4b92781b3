"""`standard`: stop, snapshot, migrate, verify, start. Writes are held for the whole migration."""

from __future__ import annotations

from liftlock.model.plan import Reversibility, Strategy
from liftlock.plan.situation import Situation
from liftlock.plan.strategies.interface import Outline

STRATEGY = Strategy.STANDARD
POINT_OF_NO_RETURN = "verify-live"


def offered(situation: Situation) -> str:
    """Always possible: empty."""
    del situation
    return ""


def outline(situation: Situation) -> tuple[Outline, ...]:
    """The steps, in order."""
    source, target = situation.jump.source, situation.jump.target
    roles = [store.role for store in situation.deployment.stores]
    undo, restore = Reversibility.UNDO, Reversibility.RESTORE
    return (
        Outline("build-environments", "build and prove both releases' environments", undo, False),
        Outline("back-up", "back up everything, restore it elsewhere and compare", undo, False),
        Outline("sample-before", "sample what the old server serves", undo, False),
        Outline("warm-up", "warm up the migration worker", undo, False),
        Outline("stop-old", f"stop MLflow {source}", undo, True),
        Outline("prove-quiet", "prove that nobody writes", undo, True),
        Outline("snapshot", "take the final snapshot and verify it", undo, True),
        Outline("fingerprint-before", "measure what loses a column", undo, True),
        *(Outline(f"migrate-{role.value}", f"migrate the {role.value} database", restore, True) for role in roles),
        Outline("verify-data", "compare every row with the snapshot", undo, True),
        Outline("start-new", f"start MLflow {target}", undo, True),
        Outline("verify-live", "verify the running server with real clients", undo, False),
        Outline("record", "record the new release in liftlock.toml", undo, False),
    )
