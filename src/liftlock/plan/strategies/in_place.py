"""`in-place`: a hop without schema change is a restart; the way back is the old environment."""

from __future__ import annotations

from liftlock.model.plan import Reversibility, Strategy
from liftlock.plan.situation import Situation
from liftlock.plan.strategies.interface import Outline

STRATEGY = Strategy.IN_PLACE
POINT_OF_NO_RETURN = "none: the old environment starts on the same databases"


def offered(situation: Situation) -> str:
    """Only when no revision lies between the releases; otherwise the reason why not."""
    count = len(situation.jump.tracking) + len(situation.jump.auth)
    return f"{count} migrations lie between the releases" if count else ""


def outline(situation: Situation) -> tuple[Outline, ...]:
    """The steps, in order."""
    undo = Reversibility.UNDO
    return (
        Outline("build-environments", "build and prove both releases' environments", undo, False),
        Outline("back-up", "back up everything, restore it elsewhere and compare", undo, False),
        Outline("sample-before", "sample what the old server serves", undo, False),
        Outline("stop-old", f"stop MLflow {situation.jump.source}", undo, True),
        Outline("start-new", f"start MLflow {situation.jump.target}", undo, True),
        Outline("verify-live", "verify the running server with real clients", undo, False),
        Outline("record", "record the new release in liftlock.toml", undo, False),
    )
