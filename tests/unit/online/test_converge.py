"""When following is at its end: few entries left, or as many as a hold can bring over; and when it never will be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.online.control import Control
from liftlock.online.converge import FEW, Pace, converge
from liftlock.online.flow import Epoch, Flow


@dataclass
class Source:
    """A database that gets `written` entries during each epoch; one brings over at most `most`, in `round` s. `sets`
    of them go over as sets, where there are many.
    """

    left: int
    written: int
    most: int
    away: int = 0
    sets: int = 0
    now: list[float] = field(default_factory=lambda: [0.0])
    role: Role = Role.TRACKING
    round: float = 0.1

    def epoch(self, limit: int | None) -> Epoch:
        self.now[0] += self.round
        if self.away:
            self.away -= 1
            raise StoreError("the server restarts", retryable=True)
        keys = min(self.left, self.most, limit or self.left)
        self.left += self.written - keys
        return Epoch(keys, 0.01, 0.1)

    def sweep(self, *, view: float) -> Epoch:
        self.now[0] += 0.1
        keys = min(self.left, self.sets)
        self.left -= keys
        return Epoch(keys, view, 0.1)

    def backlog(self) -> int:
        return self.left

    @property
    def source(self) -> Any:
        return self

    store = type("Store", (), {"uri": type("Uri", (), {"engine": Engine.POSTGRESQL})})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def follow(source: Source) -> int:
        monkeypatch.setattr(clock, "monotonic", lambda: source.now[0])
        monkeypatch.setattr(clock, "sleep", lambda seconds: source.now.__setitem__(0, source.now[0] + seconds))
        return converge([cast(Flow, source)], Pace(), Control(tmp_path))

    return follow


def test_until_few_are_left(run: Any) -> None:
    source = Source(left=50_000, written=100, most=5000)
    run(source)
    assert source.left <= FEW


def test_a_long_log_goes_over_as_sets(run: Any) -> None:
    source = Source(left=1_000_000, written=100, most=500, sets=500_000)
    run(source)
    assert source.left <= FEW and source.now[0] < 60


def test_a_database_that_restarts_is_waited_for(run: Any) -> None:
    source = Source(left=5000, written=10, most=5000, away=20)
    run(source)
    assert source.left <= FEW


def test_a_steady_rest_that_a_hold_can_bring_over_is_enough(run: Any) -> None:
    """As many are written as are brought over: 1500 a round, a round takes 0.1 s."""
    source = Source(left=1500, written=1500, most=1500)
    run(source)
    assert FEW < source.left < 7500  # half a second's worth
    assert source.now[0] < 30


@pytest.mark.parametrize(("seconds", "enough"), [(1.5, True), (3.0, False)])
def test_rounds_with_a_price_of_their_own(run: Any, seconds: float, enough: bool) -> None:
    """However few are left, a round takes as long: through the migrations. It is enough where a hold may take that."""
    source = Source(left=600, written=300, most=1500, round=seconds)
    if not enough:
        with pytest.raises(StoreError, match="faster than it can be followed"):
            run(source)
        return
    run(source)
    assert source.left == 300
    assert source.now[0] < 30


def test_one_that_is_written_faster_than_followed_is_given_up_after_a_minute(run: Any) -> None:
    source = Source(left=50_000, written=2000, most=1500)
    with pytest.raises(StoreError, match="faster than it can be followed"):
        run(source)
    assert 60 < source.now[0] < 90
