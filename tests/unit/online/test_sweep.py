"""A long log is brought over as sets; what is not there afterwards, or is refused, is told or done one by one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from liftlock.errors import StoreError
from liftlock.model.fingerprint import Fingerprint
from liftlock.online import converge as converging
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.online.flow import Mismatch
from liftlock.stores.live import Moved
from liftlock.stores.sqlite_live import SqliteLive
from tests.support.online import TwoSides, two_sides


@pytest.fixture
def sides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoSides]:
    monkeypatch.setattr(converging, "MANY", 1)
    with two_sides(tmp_path) as made:
        yield made


def write(sides: TwoSides, *statements: str) -> None:
    with closing(sqlite3.connect(sides.blue.store.uri.path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def rows_of(sides: TwoSides) -> tuple[Fingerprint, Fingerprint]:
    return sides.blue.store.fingerprint(), sides.green.store.fingerprint()


def test_a_long_log_is_swept(sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Moved] = []
    transfer = SqliteLive.transfer

    def seen(self: SqliteLive, *given: Any, **named: Any) -> Moved:
        found.append(transfer(self, *given, **named))
        return found[-1]

    monkeypatch.setattr(SqliteLive, "transfer", seen)
    write(sides, "UPDATE runs SET name = 'swept'", "DELETE FROM tags", "UPDATE metrics SET value = value + 1")
    count = sides.blue.backlog()
    assert converge([sides.flow()], Pace(), Control(tmp_path)) == sum(each.keys for each in found) == count > 100
    blue, green = rows_of(sides)
    assert blue.differences(green) == ()
    assert (sides.blue.backlog(), sides.green.backlog()) == (0, 0)


def test_what_is_refused_as_a_set_goes_by_itself(
    sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Moved:
        raise StoreError("a row is refused")

    monkeypatch.setattr(SqliteLive, "transfer", refused)
    write(sides, "UPDATE runs SET name = 'one by one'", "DELETE FROM tags")
    converge([sides.flow()], Pace(), Control(tmp_path))
    blue, green = rows_of(sides)
    assert blue.differences(green) == ()


def test_what_is_not_as_it_was_written_stops_everything(
    sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Moved(wrong=("tags ('k',): not as it was written", "and another"))
    monkeypatch.setattr(SqliteLive, "transfer", lambda *_, **__: wrong)
    write(sides, "DELETE FROM tags")
    with pytest.raises(Mismatch, match=r"tags \('k',\).* \(and 1 more\)"):
        converge([sides.flow()], Pace(), Control(tmp_path))
    assert sides.blue.backlog()
