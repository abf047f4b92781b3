"""What is parked comes back where it still fits, and only there; the file is its owner's alone."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from liftlock.errors import StoreError
from liftlock.online.parking import WAITING, Entry, Parking, decode, encode, parents_first, unpark
from liftlock.stores.live import Live
from liftlock.stores.opening import live
from tests.support.commuting import rows_of, sqlite_store

SCHEMA = """
CREATE TABLE parents (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR, extra VARCHAR DEFAULT 'd');
CREATE TABLE children (id INTEGER NOT NULL PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents (id),
  size INTEGER CHECK (size < 10));
INSERT INTO parents VALUES (1, 'one', 'd');
"""


@pytest.fixture
def database(tmp_path: Path) -> Live:
    with closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as file:
        file.executescript(SCHEMA)
    return live(sqlite_store(tmp_path / "new.db"))


@pytest.fixture
def parking(tmp_path: Path) -> Parking:
    return Parking(tmp_path / "parking.db")


def row(table: str, why: str = "because", **content: Any) -> Entry:
    return Entry(table=table, key=(content["id"],), kind="row", content=content, why=why)


def child(number: int, parent: int, size: int = 1) -> Entry:
    return row("children", id=number, parent=parent, size=size)


def extra(name: str, value: str) -> Entry:
    return Entry(
        table="parents", key=(1,), kind="columns", content={"extra": value}, base={"id": 1, "name": name}, why="w"
    )


@pytest.fixture
def brought(database: Live, parking: Parking) -> Iterator[Any]:
    def bring(*entries: Entry) -> list[str]:
        """Park, bring back; why each of the others could not be."""
        parking.replace({}, entries)
        with database.applying() as target:
            found, done = unpark(parking, target, database.shapes())
        assert found.imported == len(done)
        parking.forget(done)
        assert len(parking.entries()) == len(found.conflicts)
        return [why for _, why in found.conflicts]

    yield bring


def test_the_file_is_for_its_owner_only_and_says_what_and_why(parking: Parking) -> None:
    assert parking.entries() == []
    assert parking.counts() == {}
    entry = row("parents", id=7, name="x")
    parking.replace({}, [entry])
    assert parking.path.stat().st_mode & 0o777 == 0o600
    assert parking.entries() == [entry]
    assert parking.counts() == {"parents": 1}
    assert str(entry) == "parents (7,): because"
    assert str(extra("a", "b")) == "parents (1,) (columns extra): w"


def test_a_state_replaces_the_state_before_it(parking: Parking) -> None:
    parking.replace({}, [row("parents", id=1, name="a"), row("parents", id=2, name="b")])
    parking.replace({"parents": [(1,)]}, [])
    assert [each.key for each in parking.entries()] == [(2,)]
    parking.replace({"parents": [(2,)]}, [row("parents", id=2, name="c")])
    assert [each.content["name"] for each in parking.entries("parents")] == ["c"]
    assert parking.parked("parents", [(1,), (2,)]) == {(2,)}
    parking.replace({}, [row("children", f"{WAITING} a row of parents that is parked", id=1)])
    assert [each.table for each in parking.waiting()] == ["children"]


@pytest.mark.parametrize("value", [1, 1.5, -0.0, math.inf, "Ünï", "\0", b"\x00\xff", None, True, 2**63 - 1])
def test_values_come_back_exactly(value: Any) -> None:
    found = decode(encode([value]))[0]
    assert (type(found), repr(found)) == (type(value), repr(value))


def test_what_has_no_form_is_refused(parking: Parking) -> None:
    with pytest.raises(TypeError):
        encode([object()])


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        Parking(tmp_path / "missing" / "parking.db").replace({}, [child(1, 1)])


def test_rows_come_back_parents_first(brought: Any, database: Live) -> None:
    assert brought(child(5, 2), row("parents", id=2, name="two")) == []
    assert rows_of(database, "children") == [(5, 2, 1)]
    assert (2, "two", "d") in rows_of(database, "parents")
    # And again: what is there already has come back.
    assert brought(child(5, 2)) == []


@pytest.mark.parametrize(("entry", "why"), [
    (child(1, 9), "row of parents that it belongs to is gone"), (child(1, 1, 99), "CHECK"),
    (row("parents", id=1, name="other"), "another row"), (row("lost", id=1), "no such table"),
    (row("parents", id=3, colour="red"), "no column colour"), (extra("uno", "x"), "changed meanwhile"),
    (Entry(table="parents", key=(8,), kind="columns", content={"extra": "x"}, base={}, why="w"), "row is gone"),
])  # fmt: skip
def test_what_no_longer_fits_is_listed_and_stays_parked(
    entry: Entry, why: str, brought: Any, database: Live
) -> None:  # fmt: skip
    before = rows_of(database, "parents"), rows_of(database, "children")
    (reason,) = brought(entry)
    assert why in reason
    assert (rows_of(database, "parents"), rows_of(database, "children")) == before


def test_columns_come_back_to_an_unchanged_row(brought: Any, database: Live) -> None:
    assert brought(extra("one", "kept")) == []
    assert rows_of(database, "parents") == [(1, "one", "kept")]
    assert brought(extra("uno", "kept")) == []


def test_parents_stand_first_even_in_a_ring(database: Live) -> None:
    assert parents_first(database.shapes()) == ["parents", "children"]
