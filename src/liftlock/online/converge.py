"""Epochs until the sink is as the source, at a pace nobody feels; and the wait for the right moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.uri import Engine
from liftlock.online.control import Control, Moment, Stand, When
from liftlock.online.flow import Flow
from liftlock.online.patience import PASSING, Patience

# A reader of a rollback-journal SQLite database keeps its writers waiting, so a view there is short.
_VIEW_SECONDS = {Engine.SQLITE: 0.03, Engine.POSTGRESQL: 0.5}
# On a busy machine the clock says that a view was long when its process merely waited. An epoch has a price of its own
# (two commits), so with fewer entries following would only become slower.
_FIRST, _LEAST, _LARGEST = 500, 500, 50_000
FEW = 200
MANY = 5_000
"""Log entries from which on rows go over as sets."""
_QUIET_SECONDS = 2.0
_IDLE = 0.1
_STALLED_ROUNDS = 50
_STALLED_SECONDS = 60.0
# What is left may take so many seconds to bring over in the hold, where it does not get less in so many rounds; and
# where it does not for so many seconds: one round through a release's migrations takes a second, however few rows.
_HOLDABLE = 0.5
_HOLDABLE_AT_LAST = 2.0
_PATIENT_SECONDS = 10.0


@dataclass
class Pace:
    """How many log entries to take at a time, and how long to rest: `load` is the share of time spent at work."""

    load: float = 1.0
    limits: dict[str, int] = field(default_factory=dict)

    def limit(self, flow: Flow) -> int:
        """Log entries for the next epoch of a flow."""
        return self.limits.get(flow.role.value, _FIRST)

    def learn(self, flow: Flow, viewed: float) -> None:
        """Towards views of half the allowed length."""
        factor = min(2.0, max(0.25, _allowed(flow) / 2 / max(viewed, 1e-6)))
        self.limits[flow.role.value] = min(_LARGEST, max(_LEAST, int(self.limit(flow) * factor)))

    def rest(self, worked: float) -> None:
        """Leave the machine to others for their share."""
        if self.load < 1.0:
            clock.sleep(min(5.0, worked * (1.0 / self.load - 1.0)))


def _allowed(flow: Flow) -> float:
    return _VIEW_SECONDS.get(flow.source.store.uri.engine, 0.03)


def round_trip(flows: Sequence[Flow], pace: Pace) -> tuple[int, int]:
    """One epoch of each flow: keys brought over, log entries left."""
    brought = 0
    for flow in flows:
        if flow.source.backlog() >= MANY:
            swept = flow.sweep(view=_allowed(flow))
            pace.rest(swept.seconds)
            brought += swept.keys
        epoch = flow.epoch(pace.limit(flow))
        if epoch.keys:
            pace.learn(flow, epoch.viewed)
            pace.rest(epoch.seconds)
        brought += epoch.keys
    return brought, sum(flow.source.backlog() for flow in flows)


def converge(
    flows: Sequence[Flow], pace: Pace, control: Control, *, phase: str = "converge", few: int = FEW,
    observer: Observer = silent,
) -> int:  # fmt: skip
    """Until at most `few` log entries are left, or no fewer than can be brought over in a moment; keys brought over.

    Raises StoreError (retryable) when the source is written faster than it can be followed, or what stops it for long.
    """
    total, least, stalled = 0, None, 0
    began = better = clock.monotonic()
    patience = Patience(observer)
    while True:
        wait_while_paused(control, phase)
        try:
            brought, left = round_trip(flows, pace)
        except PASSING as error:
            patience.bear(error)
            continue
        patience.well()
        total += brought
        spent = clock.monotonic() - began
        eta = left / (total / spent) if total and spent > 0 else None
        observer(Progress(work=phase, done=total, total=total + left, unit="rows"))
        control.tell(Stand(phase=phase, at=clock.now(), lag=left, done=total, total=total + left, unit="rows", eta=eta))
        if left <= few:
            return total
        if least is None or left < least:
            least, stalled, better = left, 0, clock.monotonic()
            continue
        stalled += 1
        waited = clock.monotonic() - better
        holdable = _HOLDABLE_AT_LAST if waited > _PATIENT_SECONDS else _HOLDABLE if stalled > _STALLED_ROUNDS else 0.0
        if eta is not None and eta <= holdable:
            return total
        if stalled > _STALLED_ROUNDS and waited > _STALLED_SECONDS:
            raise StoreError(
                "the database is written faster than it can be followed",
                hint="Try again when it is quieter, or raise the load allowed to liftlock.",
                retryable=True,
            )


def wait_while_paused(control: Control, phase: str) -> None:
    """Return when the operator lets us go on."""
    while control.said().paused:
        control.tell(Stand(phase=f"{phase} (paused)", at=clock.now()))
        clock.sleep(_IDLE)


def await_moment(
    flows: Sequence[Flow], when: When, pace: Pace, control: Control, *, observer: Observer = silent
) -> None:
    """Keep both sides equal until it is time to cut over."""
    quiet_since = clock.monotonic()
    while not _is_time(when, control, quiet_since):
        observer(Progress(work=f"equal on both sides, waiting to cut over ({when.moment.value})"))
        brought = converge(flows, pace, control, phase="waiting to cut over")
        if brought:
            quiet_since = clock.monotonic()
        clock.sleep(_IDLE)
    converge(flows, pace, control)


def _is_time(when: When, control: Control, quiet_since: float) -> bool:
    if control.said().cut_over or when.moment is Moment.AUTO:
        return True
    if when.moment is Moment.AT and when.at is not None:
        return clock.now() >= when.at
    return when.moment is Moment.QUIET and clock.monotonic() - quiet_since >= _QUIET_SECONDS
