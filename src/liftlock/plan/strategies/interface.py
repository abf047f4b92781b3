"""What a strategy is to the planner: whether it can be offered, and its steps in order."""

from __future__ import annotations

from dataclasses import dataclass

from liftlock.model.plan import Reversibility


@dataclass(frozen=True)
class Outline:
    """One step of a strategy before it is timed."""

    name: str
    title: str
    reversibility: Reversibility
    holds_writes: bool
