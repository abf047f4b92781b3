"""What was watched: requests in short, the baseline they are compared with, and what came of it."""

from __future__ import annotations

from datetime import datetime

import msgspec

from liftlock.model.codec import Value
from liftlock.model.finding import Finding, Outcome, Severity


class Traffic(Value, frozen=True):
    """Requests to the API of a server, counted.

    `durations` maps an endpoint (`POST /api/2.0/mlflow/runs/create`) to a histogram: the number of a bucket to how many
    requests fell into it (`verify.traffic` says which times a bucket holds). `failed` got no answer or one from 500 up,
    `refused` 401 or 403. `registrations` are requests that register a model or a version, `registered` those that did.
    `first` and `last` are when the first and the last began, in milliseconds since 1970; 0 without requests.
    """

    durations: dict[str, dict[int, int]] = msgspec.field(default_factory=dict)
    requests: int = 0
    failed: int = 0
    refused: int = 0
    registrations: int = 0
    registered: int = 0
    first: int = 0
    last: int = 0


class Baseline(Value, frozen=True):
    """How a server was before: its traffic, connections by database, when that was noted, by whom, and from what."""

    release: str
    taken_at: datetime
    by: str
    source: str
    traffic: Traffic
    connections: dict[str, int] = msgspec.field(default_factory=dict)


class Watch(Value, frozen=True):
    """The state of a watch, over everything since it began.

    `run` is the upgrade it is about (empty: none). `recent` holds what failed in the last minutes alone. `looks`
    counts, `breaching` how many of the last looks in a row found something to act on. `breached_at` is when that was
    so often enough, `rolled_back` the rollback that was made of it.
    """

    run: str
    release: str
    by: str
    began_at: datetime
    until: datetime
    requests: int
    findings: tuple[Finding, ...]
    recent: tuple[Finding, ...] = ()
    looks: int = 0
    breaching: int = 0
    breached_at: datetime | None = None
    rolled_back: str = ""

    @property
    def hours(self) -> float:
        """How long it has been watched."""
        return (self.until - self.began_at).total_seconds() / 3600

    @property
    def breached(self) -> bool:
        """Whether something was to be acted on."""
        acted = any(each.outcome is Outcome.FAIL and each.severity is Severity.ERROR for each in self.findings)
        return acted or self.breached_at is not None
