"""What only SQLite has under an online upgrade, and that the shared scenario catches every bug seeded here."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Thread
from time import monotonic, sleep
from typing import Any

import pytest

from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer, silent
from liftlock.model.uri import Engine
from liftlock.stores import sqlite_connection, sqlite_copy, sqlite_fence, sqlite_live, sqlite_log, sqlite_schema
from liftlock.stores.interface import Store
from liftlock.stores.live import Key, Row, Shape
from liftlock.stores.sqlite_capture import KeyLog
from liftlock.stores.sqlite_live import SqliteLive
from liftlock.stores.sqlite_view import SqliteTarget, Token
from tests.support.harness import make_harness
from tests.support.live import (
    Refused,
    Writer,
    equal,
    logged,
    move_there_and_back,
    ours,
    prepare,
    scribble,
    straight,
    write,
    writer,
)

# Statements that only SQLite has, among the shared ones: rows that are evicted without a DELETE trigger.
_REPLACING = (
    "INSERT OR REPLACE INTO parents VALUES ('n' || :x, :y)",
    "UPDATE OR REPLACE parents SET rank = :y WHERE name = 'n' || :x",
    "INSERT OR REPLACE INTO experiments (name, lifecycle_stage) VALUES ('e' || :x, 'active')",
    "REPLACE INTO params VALUES ('k' || :x, 'replaced', :run)",
)


def _scribble(client: Writer, random: Random) -> bool:
    if random.random() < 0.3:
        values = {"x": random.randrange(6), "y": random.randrange(1, 6), "run": f"{random.randrange(6):032x}"}
        statement = random.choice(_REPLACING)
        try:
            client.execute(statement, {name: value for name, value in values.items() if f":{name}" in statement})
            client.commit()
        except Refused:
            client.rollback()
            return False
        return True
    return scribble(client, random)


def _store(directory: Path) -> Store:
    harness = make_harness(Engine.SQLITE, directory)
    store = harness.new_store(Role.TRACKING, "blue")
    prepare(harness, store)
    return store


@pytest.fixture(autouse=True)
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody pulls the plug here, and flushing is nine tenths of the time."""

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        connection = sqlite_connection.connect(path, **options)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr(sqlite_live, "connect", connect)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return _store(tmp_path)


def _moved(directory: Path, make: Callable[[Store], SqliteLive], seed: int, journal_mode: str = "delete") -> None:
    directory.mkdir()
    store = _store(directory)
    # An update of MLflow's own kind: it writes when a row is deleted, which nobody wants while rows are replaced.
    _execute(store, "CREATE TRIGGER heard AFTER DELETE ON tags BEGIN INSERT INTO renames VALUES (OLD.run_uuid, "
             "(SELECT count(*) FROM renames)); END")  # fmt: skip
    _execute(store, f"PRAGMA journal_mode = {journal_mode}")
    move_there_and_back(store, make, Random(seed), _scribble)


def _execute(store: Store, sql: str) -> None:
    with closing(sqlite3.connect(store.uri.path, isolation_level=None)) as connection:
        connection.execute(sql)


@pytest.mark.parametrize("journal_mode", ["delete", "wal", "truncate"])
def test_moved_there_and_back(tmp_path: Path, journal_mode: str) -> None:
    for seed in range(2):
        _moved(tmp_path / str(seed), SqliteLive, seed, journal_mode)


def test_moved_there_and_back_by_dirty_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing else gets through, the copy has triggers of its own beside ours."""
    monkeypatch.setattr(sqlite_copy, "_can_clone", lambda target: False)
    monkeypatch.setattr(sqlite_copy, "copy_in_steps", lambda *_, **__: None)
    for seed in range(2):
        _moved(tmp_path / str(seed), SqliteLive, seed)


def test_a_key_that_is_changed_under_another_name_is_logged(store: Store) -> None:
    """A trigger `UPDATE OF id` does not fire for an update of the rowid, which is the same."""
    blue = SqliteLive(store)
    blue.capture()
    for change, table, keys in (
        ("UPDATE toys SET rowid = 91 WHERE id = 1", "toys", {(1,), (91,)}),
        ("UPDATE toys SET _ROWID_ = 92, n = NULL WHERE id = 2", "toys", {(2,), (92,)}),
        ("UPDATE toys SET ID = 93 WHERE id = 3", "toys", {(3,), (93,)}),
        ("UPDATE params SET KEY = 'p1b' WHERE key = 'p1' AND run_uuid LIKE '%1'", "params",
         {("p1", f"{1:032x}"), ("p1b", f"{1:032x}")}),
        ("UPDATE params SET (value, key) = ('v', 'p1c') WHERE key = 'p1b'", "params",
         {("p1b", f"{1:032x}"), ("p1c", f"{1:032x}")}),
        ("UPDATE params SET value = 'w' WHERE key = 'p1c'", "params", {("p1c", f"{1:032x}")}),
    ):  # fmt: skip
        write(store, change)
        with blue.changes() as view:
            assert {name: set(found) for name, found in view.changed.items()} == {table: keys}, change
        blue.consume(view.token)


def test_rows_as_sets_for_a_sink_that_is_locked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_live, "BUSY_SECONDS", 0.1)
    blue = SqliteLive(store)
    blue.capture()
    target = store.scratch("green")
    blue.copy_to(target)
    write(store, "DELETE FROM tags")
    with writer(target) as client:
        client.execute("DELETE FROM params")
        with pytest.raises(StoreError) as caught:
            blue.transfer(SqliteLive(target), straight(blue), view=1, seconds=1)
        assert caught.value.retryable
        client.rollback()
    assert logged(blue) == {"tags": 6}
    assert blue.transfer(SqliteLive(target), straight(blue), view=1, seconds=1).keys == 6
    assert equal(store, target) == ()


# --- seeded bugs ---------------------------------------------------------------------------------------------

Patch = pytest.MonkeyPatch


class _CapturedLate(SqliteLive):
    """Triggers after the copy (I1)."""

    def capture(self, *, patience: float = 20.0) -> None:
        if self.store.uri.path.name.endswith("green"):
            super().capture()

    def copy_to(self, target: Store, *, observer: Observer = silent) -> None:
        super().copy_to(target, observer=observer)
        super().capture()


class _ForgetsAll(SqliteLive):
    """What came after the view goes with it (I4)."""

    def consume(self, token: Token) -> None:
        super().consume((token[0], 1 << 62) if token else None)


class _NumbersAgain(SqliteLive):
    """The log is emptied, so that numbers are given out twice."""

    def consume(self, token: Token) -> None:
        if token:
            _execute(self.store, f"DELETE FROM {sqlite_log.LOG} WHERE id BETWEEN {token[0]} AND {token[1]}")


class _CountersStay(SqliteLive):
    """Rows are copied, what counts them is not (I8)."""

    def advance(self, values: object) -> None:
        pass


def _logged(**changed: tuple[str, ...]) -> Callable[[Patch], None]:
    def seed(patch: Patch) -> None:
        right = KeyLog.logged
        patch.setattr(KeyLog, "logged", lambda self: {**right(self), **changed})

    return seed


def _replaced_rows_missing(patch: Patch) -> None:
    patch.setattr(KeyLog, "replaced", lambda self, connection, table: [])


def _cascade_not_followed(patch: Patch) -> None:
    """Only the tables that statements name are captured."""
    right = KeyLog.statements
    patch.setattr(
        KeyLog,
        "statements",
        lambda self, connection, tables: right(
            self, connection, [table for table in tables if table.name not in ("children", "toys")]
        ),
    )


def _no_fence(patch: Patch) -> None:
    patch.setattr(sqlite_fence, "fenced_tables", lambda connection: [])


def _fence_without_deletes(patch: Patch) -> None:
    patch.setattr(sqlite_fence, "EVENTS", ("INSERT", "UPDATE"))


def _cursor(patch: Patch) -> None:
    """The log is read behind the last number seen, not as what is there (I3)."""
    right = sqlite_log.keys
    seen: dict[str, int] = {}

    def keys(connection: sqlite3.Connection, token: Token, known: dict[str, Shape]) -> dict[str, frozenset[Key]]:
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        last = seen.get(path, 0)
        if token is None or token[1] <= last:
            return {}
        seen[path] = token[1]
        return right(connection, (max(token[0], last + 1), token[1]), known)

    patch.setattr(sqlite_log, "keys", keys)


def _echo(patch: Patch) -> None:
    patch.setattr(sqlite_fence, "APPLYING", f"SELECT 1 FROM {sqlite_fence.APPLIER} WHERE applying = 2")


def _copy_keeps_ours(patch: Patch) -> None:
    patch.setattr(sqlite_copy, "_cleaned", lambda target: False)


def _nulls_dropped(patch: Patch) -> None:
    """As a tool that leaves NULL out of what it sets: the old value stays."""
    before: dict[str, dict[Key, Row]] = {}
    delete, insert = SqliteTarget.delete, SqliteTarget.insert

    def key(shape: Shape, row: Row) -> Key:
        return tuple(row[shape.columns.index(name)] for name in shape.key)

    def remembering(self: SqliteTarget, table: str, columns: Sequence[str], values: Iterable[Key]) -> int:
        wanted, shape = list(values), self.shapes[table]
        before[table] = {key(shape, row): row for row in self.rows(table, columns, wanted)}
        return delete(self, table, columns, wanted)

    def merging(self: SqliteTarget, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        old = before.get(table, {})
        merged = [
            tuple(
                was if value is None else value
                for value, was in zip(row, old.get(key(self.shapes[table], row), row), strict=True)
            )
            for row in rows
        ]
        insert(self, table, columns, merged)

    patch.setattr(SqliteTarget, "delete", remembering)
    patch.setattr(SqliteTarget, "insert", merging)


def _foreign_keys_act(patch: Patch) -> None:
    connect = sqlite_connection.connect

    class Acting(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            return super().execute(sql.replace("foreign_keys = OFF", "foreign_keys = ON"), *parameters)

    def careless(path: Path, **options: Any) -> sqlite3.Connection:
        connect(path, **options).close()
        return sqlite3.connect(path, isolation_level=None, timeout=options["timeout"], factory=Acting)

    patch.setattr(sqlite_live, "connect", careless)


def _their_triggers_act(patch: Patch) -> None:
    patch.setattr(sqlite_schema, "definitions", lambda connection: [])


def _rows_left_out(patch: Patch) -> None:
    insert = SqliteTarget.insert
    patch.setattr(SqliteTarget, "insert", lambda self, table, columns, rows: insert(self, table, columns, rows[:-1]))


def _generated_columns_inserted(patch: Patch) -> None:
    patch.setattr(sqlite_schema.Table, "stored", property(lambda self: tuple(column.name for column in self.columns)))


_BUGS: dict[str, Callable[[Patch], None] | type[SqliteLive]] = {
    "old key missing": _logged(UPDATE=("NEW",)),
    "new key missing": _logged(UPDATE=("OLD",)),
    "inserts missing": _logged(INSERT=()),
    "deletes missing": _logged(DELETE=()),
    "replaced rows missing": _replaced_rows_missing,
    "cascade not followed": _cascade_not_followed,
    "trigger after snapshot": _CapturedLate,
    "cursor instead of set": _cursor,
    "log emptied whole": _ForgetsAll,
    "numbers given out twice": _NumbersAgain,
    "sequence not copied": _CountersStay,
    "fence missing": _no_fence,
    "fence without deletes": _fence_without_deletes,
    "echo": _echo,
    "copy keeps ours": _copy_keeps_ours,
    "NULL dropped": _nulls_dropped,
    "foreign keys act": _foreign_keys_act,
    "their triggers act": _their_triggers_act,
    "rows left out": _rows_left_out,
    "generated columns inserted": _generated_columns_inserted,
}
_SEEDS = 4
_CAUGHT = (AssertionError, StoreError, sqlite3.Error)


@pytest.mark.parametrize("name", _BUGS)
def test_a_seeded_bug_is_caught(tmp_path: Path, monkeypatch: Patch, name: str) -> None:
    bug = _BUGS[name]
    make: Callable[[Store], SqliteLive] = SqliteLive
    if isinstance(bug, type):
        make = bug
    else:
        bug(monkeypatch)
    for seed in range(_SEEDS):
        try:
            _moved(tmp_path / str(seed), make, seed)
        except _CAUGHT:
            return
    pytest.fail("nobody noticed")


def test_without_a_bug_the_same_seeds_pass(tmp_path: Path) -> None:
    for seed in range(_SEEDS):
        _moved(tmp_path / str(seed), SqliteLive, seed)


# --- what only SQLite has ------------------------------------------------------------------------------------


def test_a_view_inside_a_view_does_not_wait_for_itself(store: Store) -> None:
    """A writer who waits for our reader keeps new readers out: a second connection of ours would wait for him."""
    blue = SqliteLive(store)
    blue.capture()
    write(store, "UPDATE tags SET value = 'x'")
    late = Thread(target=write, args=(store, "UPDATE tags SET value = 'y'"))
    with blue.changes() as view:
        late.start()
        sleep(0.2)
        began = monotonic()
        assert (blue.captured(), blue.fenced(), blue.backlog()) == (True, False, 6)
        with blue.look() as inner:
            assert inner.changed == view.changed
        assert monotonic() - began < 5
    late.join(30)
    assert blue.backlog() == 12


def test_rebuilding_a_table_loses_its_triggers_and_is_noticed(store: Store) -> None:
    """As Alembic does it on SQLite; afterwards the schema is the same to the letter."""
    blue = SqliteLive(store)
    schema = store.schema_dump()
    blue.capture()
    with closing(sqlite3.connect(store.uri.path)) as connection:
        (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'toys'").fetchone()
        connection.executescript(
            f"ALTER TABLE toys RENAME TO old_toys; {sql}; INSERT INTO toys SELECT * FROM old_toys; DROP TABLE old_toys"
        )
    assert store.schema_dump() == schema
    assert not blue.captured()
    blue.capture()
    write(store, "DELETE FROM toys")
    assert logged(blue) == {"toys": 4}


def test_obstacles_name_what_cannot_be_followed(store: Store) -> None:
    blue = SqliteLive(store)
    _execute(store, "CREATE TABLE nullable (k TEXT PRIMARY KEY)")
    _execute(store, "CREATE UNIQUE INDEX folded ON params (lower(key), run_uuid, value)")
    _execute(store, "CREATE VIRTUAL TABLE words USING fts5 (word)")
    capturing, applying = blue.obstacles(applying=False), blue.obstacles(applying=True)
    for words in (["virtual"], ["nullable"], ["params", "expression"]):
        assert [line for line in capturing if all(word in line for word in words)], words
    assert not [line for line in applying if "expression" in line]
    with pytest.raises(StoreError):
        blue.capture()


def test_values_of_every_kind_come_back(store: Store) -> None:
    _execute(store, "CREATE TABLE kinds (id INTEGER NOT NULL PRIMARY KEY, any, real REAL, text TEXT, n NUMERIC)")
    values: list[Any] = [
        None,
        0,
        1,
        1.0,
        -0.0,
        0.1,
        float("inf"),
        2**63 - 1,
        -(2**63),
        "",
        "1",
        "a\0b",
        b"",
        b"a\0b",
        "ü",
    ]
    with closing(sqlite3.connect(store.uri.path)) as connection, connection:
        connection.executemany(
            "INSERT INTO kinds (any, real, text, n) VALUES (?, ?, ?, ?)", [(value,) * 4 for value in values]
        )
    live = SqliteLive(store)
    print_ = store.fingerprint()
    with live.look() as view:
        rows = view.between("kinds", None, None)
    with live.applying() as target:
        target.delete("kinds", ("id",), [(row[0],) for row in rows])
        target.insert("kinds", live.shapes()["kinds"].columns, rows)
    assert print_.differences(store.fingerprint()) == ()
    with live.look() as view:
        assert list(map(repr, view.between("kinds", None, None))) == list(map(repr, rows))


def test_a_name_that_differs_in_case_only_is_another_value(store: Store) -> None:
    _execute(store, "CREATE TABLE folding (k TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, v)")
    blue = SqliteLive(store)
    blue.capture()
    write(store, "INSERT INTO folding VALUES ('A', 1)", "UPDATE folding SET k = 'a'")
    with blue.changes() as view:
        assert view.changed["folding"] == {("A",), ("a",)}
        assert view.rows("folding", ("k",), view.changed["folding"]) == [("a", 1)]


@pytest.mark.parametrize(
    "definition",
    ["k TEXT NOT NULL PRIMARY KEY, v) WITHOUT ROWID", "k TEXT PRIMARY KEY, _ROWID_)", "k TEXT, v)"],
)
def test_many_rows_are_deleted_whatever_numbers_them(store: Store, definition: str) -> None:
    _execute(store, f"CREATE TABLE numbered ({definition}")
    numbers = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 60)"
    _execute(store, f"INSERT INTO numbered {numbers} SELECT 'k' || i, i % 2 FROM n")
    live = SqliteLive(store)
    (_, other) = live.shapes()["numbered"].columns
    with live.applying() as target:
        assert target.delete("numbered", ("k",), [(f"k{n}",) for n in range(0, 40, 2)]) == 19
        assert target.delete("numbered", (other,), [(0,)]) == 11
        assert len(target.rows("numbered", (other,), [(n,) for n in range(20)])) == 30


def test_a_fence_says_its_label_as_it_is(store: Store) -> None:
    live = SqliteLive(store)
    live.fence_for_good('it\'s over; "see" -- there')
    with pytest.raises(Refused) as caught:
        write(store, "DELETE FROM params")
    assert str(caught.value) == 'it\'s over; "see" -- there'
    live.unfence()
    assert ours(store) == []


def test_a_fence_that_fell_while_it_was_put_up_is_an_error(store: Store) -> None:
    live = SqliteLive(store)
    live.capture()
    with pytest.raises(StoreError) as caught, live.fence("moved", seconds=0.05, patience=5):
        sleep(0.2)
    assert caught.value.retryable
    assert not live.fenced()
    write(store, "DELETE FROM toys")


def test_a_crashed_writer_is_rolled_back_before_we_read(store: Store) -> None:
    """A hot journal: the next who opens the database has to roll it back, and that may be us."""
    blue = SqliteLive(store)
    blue.capture()
    child = subprocess.run([sys.executable, "-c", _CRASH, str(store.uri.path)], timeout=60, check=False)
    assert child.returncode == -signal.SIGKILL
    assert store.uri.path.with_name(store.uri.path.name + "-journal").exists()
    assert blue.captured()
    assert (blue.backlog(), logged(blue)) == (0, {})


_CRASH = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE params SET value = 'half' || value")
connection.execute("UPDATE metrics SET value = value + 1")
os.kill(os.getpid(), signal.SIGKILL)
"""
