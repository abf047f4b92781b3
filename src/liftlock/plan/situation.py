"""Everything a planner may know, gathered beforehand. Planning is a pure function of this."""

from __future__ import annotations

from datetime import datetime

import msgspec

from liftlock.model.codec import Value
from liftlock.model.deployment import Deployment
from liftlock.model.plan import Strategy
from liftlock.model.release import Jump


class Rehearsed(Value, frozen=True):
    """Seconds each step took in a rehearsal of this jump, with the rows and bytes it was measured on.

    `beside` says why the old release did not work on the migrated database; empty where it did, None where it was not
    tried.
    """

    at: datetime
    deployment_digest: str
    jump: Jump
    strategy: Strategy
    seconds: dict[str, float]
    rows: int
    bytes: int
    beside: str | None = None


class Situation(Value, frozen=True):
    """The deployment, the jump with the revisions to run, and what was measured.

    `foreign_revision` is the revision of a database that the target does not know (it was written by a newer
    release), or None. `wanted` is the strategy asked for, None for the best one. `gate` says whether a gate stands in
    front of the server, `online_obstacles` why the databases could not be upgraded online, `rolling_obstacles` what in
    the deployment keeps two releases from sharing one.
    """

    now: datetime
    deployment: Deployment
    jump: Jump
    wanted: Strategy | None = None
    foreign_revision: str | None = None
    rehearsed: Rehearsed | None = None
    artifact_bytes: int = 0
    target_cached: bool = False
    new_starts_in: float | None = None
    gate: bool = False
    online_obstacles: tuple[str, ...] = msgspec.field(default_factory=tuple)
    rolling_obstacles: tuple[str, ...] = msgspec.field(default_factory=tuple)
    notes: tuple[str, ...] = msgspec.field(default_factory=tuple)
