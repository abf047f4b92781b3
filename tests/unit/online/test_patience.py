from __future__ import annotations

import pytest

from liftlock import clock
from liftlock.errors import ReleaseError, StoreError
from liftlock.model.progress import Progress
from liftlock.online.patience import Patience


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the clock says; sleeping moves it."""
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    monkeypatch.setattr(clock, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    return now


def test_what_passes_is_waited_for_and_said(time: list[float]) -> None:
    said: list[Progress] = []
    patience = Patience(said.append, seconds=10)
    away = StoreError("the server is away", retryable=True)
    for _ in range(3):
        patience.bear(away)
    assert time[0] > 100.0
    assert {each.work for each in said} == {"waiting: the server is away"}


def test_after_too_long_it_is_believed_counted_from_the_last_success(time: list[float]) -> None:
    patience = Patience(lambda _: None, seconds=10)
    away = ReleaseError("the worker died", retryable=True)
    patience.bear(away)
    time[0] += 9
    patience.bear(away)
    patience.well()
    time[0] += 9
    patience.bear(away)
    time[0] += 11
    with pytest.raises(ReleaseError, match="the worker died"):
        patience.bear(away)


def test_what_does_not_pass_is_raised_at_once(time: list[float]) -> None:
    with pytest.raises(StoreError, match="damaged"):
        Patience(lambda _: None).bear(StoreError("damaged"))
    assert time[0] == 100.0
