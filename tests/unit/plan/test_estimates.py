"""Where the seconds of a step come from."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from liftlock.model.plan import Origin, Strategy
from liftlock.model.release import Jump, Release
from liftlock.plan.estimates import estimate, total
from liftlock.plan.situation import Rehearsed, Situation
from tests.support.plans import deployment

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JUMP = Jump(source=Release(version="2.9.2"), target=Release(version="2.10.0"), tracking=("acf3f17fdcc7",))
SITUATION = Situation(now=NOW, deployment=deployment({"metrics": 1_000_000}), jump=JUMP)


def rehearsed(rows: int, jump: Jump = JUMP) -> Situation:
    known = Rehearsed(
        at=NOW, deployment_digest="x", jump=jump, strategy=Strategy.STANDARD, rows=rows, bytes=1,
        seconds={"start-new": 4.0, "migrate-tracking": 10.0},
    )  # fmt: skip
    return msgspec.structs.replace(SITUATION, rehearsed=known)


def test_a_rehearsal_replaces_what_was_computed() -> None:
    found = estimate("start-new", rehearsed(1_000_000))
    assert (found.low, found.high, found.origin) == (2.8, 7.0, Origin.REHEARSED)


def test_it_grows_with_the_rows_since() -> None:
    assert estimate("migrate-tracking", rehearsed(500_000)).low == 2 * (
        estimate("migrate-tracking", rehearsed(1_000_000)).low or 0
    )


def test_one_of_another_jump_says_nothing() -> None:
    other = msgspec.structs.replace(JUMP, tracking=("other",))
    assert estimate("start-new", rehearsed(1_000_000, other)).origin is Origin.COMPUTED


@pytest.mark.parametrize(
    ("first", "low", "high"), [(None, 1.5, 30.0), (5.5, 0.6, 30.0), (40.0, 4.0, 60.0)], ids=["never", "quick", "slow"]
)
def test_one_start_says_little_of_the_next(first: float | None, low: float, high: float) -> None:
    found = estimate("start-new", msgspec.structs.replace(SITUATION, new_starts_in=first))
    assert (found.low, found.high, found.origin) == (low, high, Origin.COMPUTED)


def test_a_migration_nobody_measured_makes_all_unknown() -> None:
    strange = msgspec.structs.replace(SITUATION, jump=msgspec.structs.replace(JUMP, tracking=("nobody",)))
    found = estimate("migrate-tracking", strange)
    assert (found.low, found.origin) == (None, Origin.UNKNOWN)
    assert total((found, estimate("record", strange))).origin is Origin.UNKNOWN
