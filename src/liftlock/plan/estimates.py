"""Seconds for each step, with their origin. Pure.

Computed figures come from measurements on one 2-core machine (a server's start 2 to 25 s, each migration as in
`knowledge.costs`, fingerprints at 0.5 to 0.8 million rows a second), so they are ranges; a rehearsal replaces them by
what this deployment really took. A migration nobody measured makes its step unknown.
"""

from __future__ import annotations

from liftlock.knowledge import costs
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.plan import Estimate, Origin
from liftlock.model.uri import Engine
from liftlock.plan.situation import Rehearsed, Situation

UNKNOWN = Estimate(low=None, high=None, origin=Origin.UNKNOWN)
_MB = 1e6
_FEW_ROWS = 100_000
_FINGERPRINT_ROWS = {Engine.SQLITE: 5e5, Engine.POSTGRESQL: 8e5}
_COPY_BYTES = {Engine.SQLITE: 150 * _MB, Engine.POSTGRESQL: 60 * _MB}
_RESTORE_BYTES = {Engine.SQLITE: 150 * _MB, Engine.POSTGRESQL: 25 * _MB}


def estimate(step: str, situation: Situation) -> Estimate:
    """The seconds one step will take: rehearsed where it was, computed where a formula exists, else unknown."""
    measured = _rehearsed(step, situation)
    if measured is not None:
        return measured
    pair = _computed(step, situation)
    if pair is None:
        return UNKNOWN
    # Floats, as JSON gives them back: a plan's id is a digest of its text.
    return Estimate(low=round(float(pair[0]), 1), high=round(float(pair[1]), 1), origin=Origin.COMPUTED)


def total(estimates: tuple[Estimate, ...]) -> Estimate:
    """The sum of estimates; unknown if one of them is, and only as good as its weakest origin."""
    if not estimates:
        return Estimate(low=0.0, high=0.0, origin=Origin.COMPUTED)
    if any(each.low is None or each.high is None for each in estimates):
        return UNKNOWN
    origins = {each.origin for each in estimates}
    return Estimate(
        low=round(sum(each.low or 0 for each in estimates), 1),
        high=round(sum(each.high or 0 for each in estimates), 1),
        origin=Origin.REHEARSED if origins == {Origin.REHEARSED} else Origin.COMPUTED,
    )


def growth(situation: Situation, known: Rehearsed) -> float:
    """By how much the database has grown since a rehearsal, at least 1; of few rows nothing takes longer."""
    rows = sum(store.rows for store in situation.deployment.stores)
    return max(1.0, rows / max(_FEW_ROWS, known.rows))


def _rehearsed(step: str, situation: Situation) -> Estimate | None:
    known = situation.rehearsed
    if known is None or known.jump != situation.jump or step not in known.seconds:
        return None
    seconds = known.seconds[step] * growth(situation, known)
    return Estimate(low=round(seconds * 0.7, 1), high=round(seconds * 1.5 + 1, 1), origin=Origin.REHEARSED)


def _computed(step: str, situation: Situation) -> tuple[float, float] | None:
    stores = situation.deployment.stores
    if step == "build-environments":
        return (0, 15) if situation.target_cached else (15, 180)
    if step in ("back-up", "snapshot"):
        low = sum(_copy(store) + _hash(store) for store in stores)
        high = low + sum(_restore(store) + _hash(store) for store in stores)
        if step == "back-up":
            high += situation.artifact_bytes / (50 * _MB)
        return low, high * 2 + 2
    if step.startswith("migrate-"):
        store = situation.deployment.store(Role(step.removeprefix("migrate-")))
        if store is None:
            return None
        revisions = situation.jump.auth if store.role is Role.AUTH else situation.jump.tracking
        rows = {table.name: table.rows for table in store.tables}
        range_ = costs.together(store.role, revisions, rows, store.engine)
        return (range_[0] + 0.2, range_[1] + 8) if range_ is not None else None
    if step in ("verify-data", "verify-aligned"):
        seconds = sum(_hash(store) for store in stores)
        return seconds * 0.7, seconds * 3 + 2
    if step == "start-new":
        return _starts(situation.new_starts_in)
    simple = {
        "sample-before": (0.2, 10.0),
        "fingerprint-before": (0.0, 1.0),
        "warm-up": (0.0, 15.0),
        "stop-old": (0.2, 5.0),
        "prove-quiet": (0.0, 2.0),
        "verify-live": (2.0, 60.0),
        "record": (0.0, 0.5),
        "record-gate": (0.0, 0.5),
        "unpark": (0.0, 2.0),
        "capture": (0.1, 25.0),
        "capture-back": (0.1, 5.0),
        "converge": (0.1, 60.0),
        "share-schema": (0.0, 0.5),
        "start-beside": _starts(None),
        "move-old": (0.0, 1.0),
        "record-beside": (0.0, 0.5),
        # Four stages of `app.rolling.Settings.stay` seconds.
        "shift-reads": (20.0, 25.0),
        "stop-beside": (0.2, 5.0),
        # Measured: `make bench BENCH=online`; the limit of one attempt is 4 s.
        "cut-over": (0.1, 2.0),
    }
    return simple.get(step)


def _starts(first: float | None) -> tuple[float, float]:
    """A server's start, from the seconds that the first one of its environment took, None where it was not started.

    The first one compiles everything; and the same start took 2 and 23 s on one machine within an hour, by what of the
    files was in memory. So one figure says little, and only of the slowest.
    """
    return (first / 10, max(30.0, first * 1.5)) if first else (1.5, 30.0)


def _hash(store: StoreFacts) -> float:
    return store.rows / _FINGERPRINT_ROWS.get(store.engine, 5e5)


def _copy(store: StoreFacts) -> float:
    return store.bytes / _COPY_BYTES.get(store.engine, 60 * _MB)


def _restore(store: StoreFacts) -> float:
    return store.bytes / _RESTORE_BYTES.get(store.engine, 25 * _MB)
