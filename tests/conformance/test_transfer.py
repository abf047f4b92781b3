"""Rows that go over as sets: for every engine the same as one by one, and nothing is consumed that is not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from liftlock.errors import StoreError
from liftlock.model.uri import Engine
from liftlock.stores import postgresql_transfer, sqlite_transfer
from liftlock.stores.interface import Store
from liftlock.stores.live import Live, Moved, Straight
from liftlock.stores.opening import live
from tests.support.harness import StoreHarness
from tests.support.live import (
    WRITES,
    Refused,
    converge,
    equal,
    logged,
    ours,
    prepare,
    scribble,
    scribbling,
    straight,
    write,
    writer,
)

RUN = f"{1:032x}"


@pytest.fixture
def store(harness: StoreHarness, store: Store) -> Store:
    prepare(harness, store)
    return store


@pytest.fixture
def sides(store: Store) -> Iterator[tuple[Live, Live]]:
    """Blue and its copy, both captured as in an upgrade."""
    blue = live(store)
    blue.capture()
    target = store.scratch("green")
    try:
        blue.copy_to(target)
        green = live(target)
        green.capture()
        yield blue, green
    finally:
        target.drop()


def moved(blue: Live, green: Live, tables: list[Straight] | None = None) -> Moved:
    found = blue.transfer(green, straight(blue) if tables is None else tables, view=0.05, seconds=5)
    assert found.wrong == ()
    return found


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many portions and views instead of one."""
    monkeypatch.setattr(postgresql_transfer, "_LARGEST", 20)
    monkeypatch.setattr(postgresql_transfer, "_FIRST", 20)
    monkeypatch.setattr(sqlite_transfer, "_LARGEST", 7)
    monkeypatch.setattr(sqlite_transfer, "_LEAST", 2)
    monkeypatch.setattr(sqlite_transfer, "_ENTRIES", 30)


def test_everything_that_people_write_goes_over(store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    for name, statements in WRITES.items():
        try:
            write(store, *statements)
        except Refused:  # what it speaks of was changed by another one
            continue
        moved(blue, green)
        assert (equal(store, green.store), blue.backlog(), green.backlog()) == ((), 0, 0), name
    assert moved(blue, green) == Moved()


def test_in_portions_while_people_write(
    harness: StoreHarness, store: Store, sides: tuple[Live, Live], small_portions: None
) -> None:
    """Nothing is consumed that was not applied: what comes between a view and the consumption stays in the log."""
    blue, green = sides
    random = Random(7)
    with writer(store) as client:
        for _ in range(40):
            scribble(client, random)
    before = blue.backlog()
    with scribbling(store, 5, clients=1 if harness.engine is Engine.SQLITE else 2):
        keys = sum(moved(blue, green).keys for _ in range(3))
    assert keys > before / 4
    while blue.backlog():
        try:
            moved(blue, green)
        except StoreError:  # one side only of a swap of unique values
            converge(blue, green)
    assert (equal(store, green.store), blue.backlog(), green.backlog()) == ((), 0, 0)


def test_only_these_tables_and_no_whole_ones(harness: StoreHarness, store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    write(store, *WRITES["update"], *WRITES["to NULL"], *WRITES["from NULL"])
    if harness.engine is Engine.POSTGRESQL:
        write(store, "TRUNCATE metrics", "INSERT INTO metrics VALUES ('m', 1, 1, '" + RUN + "', 1, false)")
    left = logged(blue)
    del left["params"], left["tags"]
    moved(blue, green, [each for each in straight(blue) if each.table in ("params", "tags")])
    assert logged(blue) == left
    moved(blue, green)
    with blue.look() as view:
        assert view.changed == {}
        assert view.whole == ({"metrics"} if harness.engine is Engine.POSTGRESQL else set())
    write(store, *WRITES["upsert"])
    converge(blue, green)
    assert equal(store, green.store) == ()


def test_a_row_that_is_refused_leaves_everything_as_it_was(store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    shape = blue.shapes()["parents"]
    rank = "77" if store.uri.engine is Engine.POSTGRESQL else 77
    with green.applying() as target:
        target.insert("parents", shape.columns, [("in the way", rank)])
    before = green.store.fingerprint()
    write(store, "UPDATE parents SET rank = 77 WHERE name = 'b'")
    with pytest.raises(StoreError) as caught:
        moved(blue, green)
    assert not caught.value.retryable
    assert before.differences(green.store.fingerprint()) == ()
    assert logged(blue) == {"parents": 1}
    with green.applying() as target:
        target.delete("parents", ("name",), [("in the way",)])
    moved(blue, green)
    assert (equal(store, green.store), blue.backlog()) == ((), 0)


def test_new_names_and_new_columns(harness: StoreHarness, store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    green.release()
    text = "'default'"
    for statement in (
        "ALTER TABLE tags RENAME COLUMN value TO said",
        f"ALTER TABLE tags ADD COLUMN workspace VARCHAR(63) DEFAULT {text} NOT NULL",
        "ALTER TABLE tags ADD COLUMN note VARCHAR(9)",
    ):
        harness.execute(green.store, statement)
    green = live(green.store)
    shape = green.shapes()["tags"]
    columns = {"value": "said"}
    rule = Straight(
        source="tags", table="tags", key=blue.shapes()["tags"].key,
        columns={columns.get(name, name): name for name in blue.shapes()["tags"].columns},
        constants={"workspace": "default", "note": None},
    )  # fmt: skip
    write(store, *WRITES["to NULL"], "UPDATE tags SET key = 'k2' WHERE run_uuid = '" + RUN + "'")
    moved(blue, green, [rule])
    assert shape.columns == ("key", "said", "run_uuid", "workspace", "note")
    query = "SELECT key, {} AS said, run_uuid FROM tags ORDER BY key, run_uuid"
    assert list(green.store.rows(query.format("said"))) == list(store.rows(query.format("value")))
    assert list(green.store.rows("SELECT DISTINCT workspace, note FROM tags")) == [
        {"workspace": "default", "note": None}
    ]


# --- what is not as it came is not kept -------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def _statement(monkeypatch: Patch, engine: Engine, name: str, change: Callable[[Any], Any]) -> None:
    """Change one of the statements that a portion is applied with."""
    owner: Any = sqlite_transfer._Replacing if engine is Engine.SQLITE else postgresql_transfer._Lane
    attribute = name if engine is Engine.SQLITE else f"_{name}"
    init = owner.__init__

    def seeded(self: Any, *given: Any, **named: Any) -> None:
        init(self, *given, **named)
        setattr(self, attribute, change(getattr(self, attribute)))

    monkeypatch.setattr(owner, "__init__", seeded)


def _replaced(old: str, new: str) -> Callable[[Any], Any]:
    def change(statement: Any) -> Any:
        text = statement if isinstance(statement, str) else statement.as_string()
        assert old in text
        return text.replace(old, new) if isinstance(statement, str) else text.replace(old, new).encode()

    return change


_BUGS = {
    "nothing is inserted": ("insert", ("present", "present AND 1 = 0")),
    "a row is left out": ("insert", ("WHERE a.present", "WHERE a.present LIMIT 1")),
    "rows that are gone are inserted": ("insert", ("WHERE a.present", "WHERE 1 = 1")),
    "nothing is deleted": ("delete", ("WHERE ", "WHERE 1 = 0 AND ")),
}


def test_a_seeded_bug_is_caught(harness: StoreHarness, store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    write(store, *WRITES["update"], *WRITES["delete"], *WRITES["insert"])
    log, before = logged(blue), green.store.fingerprint()
    for bug, (name, change) in _BUGS.items():
        with pytest.MonkeyPatch.context() as monkeypatch:
            _statement(monkeypatch, harness.engine, name, _replaced(*change))
            try:
                found = blue.transfer(green, straight(blue), view=1, seconds=5)
                assert found.wrong and found.keys == 0, bug
                assert all("\n" not in line for line in found.wrong)
            except StoreError:  # a row was there already, or a column may not be NULL
                assert bug in ("rows that are gone are inserted", "nothing is deleted")
        assert logged(blue) == log, bug
        assert before.differences(green.store.fingerprint()) == (), bug
    moved(blue, green)
    assert equal(store, green.store) == ()


# A column type of the sink that changes what is written to it without an error, and such a value.
_LOSSY = {
    Engine.SQLITE: (("NUMERIC", "'007'"), ("NUMERIC", "'1.50'"), ("INTEGER", "'-0'")),
    Engine.POSTGRESQL: (("NUMERIC", "'007'"), ("VARCHAR(3)", "'ab   '"), ("REAL", "'0.123456789'")),
}


def test_a_column_that_holds_something_else_is_found(
    harness: StoreHarness, store: Store, sides: tuple[Live, Live]
) -> None:
    blue, green = sides
    green.release()
    harness.execute(green.store, "DELETE FROM tags")
    write(store, "DELETE FROM tags")
    for column, value in _LOSSY[harness.engine]:
        harness.execute(green.store, "ALTER TABLE tags DROP COLUMN value")
        harness.execute(green.store, f"ALTER TABLE tags ADD COLUMN value {column}")
        write(store, "DELETE FROM tags", f"INSERT INTO tags (key, value, run_uuid) VALUES ('k', {value}, '{RUN}')")
        found = blue.transfer(
            live(green.store), [each for each in straight(blue) if each.table == "tags"], view=1, seconds=5
        )
        assert len(found.wrong) == 1 and "tags" in found.wrong[0], (column, value)
        assert list(green.store.rows("SELECT * FROM tags")) == []
        assert set(logged(blue)) == {"tags"}


def test_nothing_of_ours_is_left(store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    schema = store.schema_dump()
    write(store, *WRITES["update"], *WRITES["delete"])
    moved(blue, green)
    for each in sides:
        each.release()
    assert ours(store) == ours(green.store) == []
    assert store.schema_dump() == green.store.schema_dump() == schema
    assert (store.check_integrity(), green.store.check_integrity()) == ((), ())


def test_a_schema_that_was_changed_is_noticed(harness: StoreHarness, store: Store, sides: tuple[Live, Live]) -> None:
    blue, green = sides
    write(store, *WRITES["update"])
    harness.execute(store, "ALTER TABLE tags ADD COLUMN more VARCHAR(9)")
    before = green.store.fingerprint()
    with pytest.raises(StoreError, match="captured"):
        moved(blue, green)
    assert before.differences(green.store.fingerprint()) == ()
