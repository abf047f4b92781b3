"""What is particular to each strategy in the life of an upgrade; one file each."""

from __future__ import annotations

from liftlock.app.lives import online, rolling, stopping
from liftlock.app.lives.interface import Life, Run, Wishes, plan_of
from liftlock.model.plan import Strategy

LIVES: dict[Strategy, Life] = {
    Strategy.IN_PLACE: stopping.LIFE,
    Strategy.STANDARD: stopping.LIFE,
    Strategy.ONLINE: online.LIFE,
    Strategy.ROLLING: rolling.LIFE,
}

__all__ = ["LIVES", "Life", "Run", "Wishes", "plan_of"]
