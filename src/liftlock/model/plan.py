"""Plans: what will be done, in which order, how long it may take and from where there is no way back."""

from __future__ import annotations

import enum
from datetime import datetime

from liftlock.model.codec import Value
from liftlock.model.release import Jump

FORMAT = 1


class Strategy(enum.StrEnum):
    """How writes are treated while the database is migrated."""

    ONLINE = "online"
    STANDARD = "standard"
    IN_PLACE = "in-place"
    ROLLING = "rolling"


class Reversibility(enum.StrEnum):
    """How a step is taken back: by its own undo, by restoring the snapshot, or not at all."""

    UNDO = "undo"
    RESTORE = "restore"
    NONE = "none"


class Origin(enum.StrEnum):
    """Where an estimate comes from. A number without an origin is never shown."""

    REHEARSED = "rehearsed"
    COMPUTED = "computed"
    UNKNOWN = "unknown"


class Estimate(Value, frozen=True):
    """Seconds (low to high) with their origin; both None when unknown."""

    low: float | None
    high: float | None
    origin: Origin


class PlannedStep(Value, frozen=True):
    """One step of a plan. `holds_writes` marks steps during which nobody can write."""

    name: str
    title: str
    reversibility: Reversibility
    holds_writes: bool
    estimate: Estimate


class Plan(Value, frozen=True):
    """A plan for exactly one deployment state: `deployment_digest` must still be true when it runs.

    `point_of_no_return` names the step after which a return needs `rollback` instead of an undo.
    `not_offered` says, for each other strategy, why not.
    """

    id: str
    created_at: datetime
    deployment_digest: str
    deployment_name: str
    jump: Jump
    strategy: Strategy
    reasons: tuple[str, ...]
    not_offered: dict[str, str]
    steps: tuple[PlannedStep, ...]
    point_of_no_return: str
    window: Estimate
    format: int = FORMAT
