"""People who write while a database is captured, and somebody who follows them: for every engine alike."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Protocol, cast

import psycopg

from liftlock.errors import StoreError
from liftlock.model.uri import Engine
from liftlock.stores.interface import Store
from liftlock.stores.live import Key, Live, Row, Straight, Target, View
from liftlock.stores.postgresql_connect import bind
from tests.support.harness import StoreHarness

# A table without a primary key is an obstacle; the trigger goes on writing to its successor.
PREPARE = (
    "DROP TABLE keyless",
    "DROP TABLE renames",
    "CREATE TABLE renames (old_name VARCHAR(256) NOT NULL, new_name VARCHAR(256) NOT NULL, "
    "PRIMARY KEY (old_name, new_name))",
    "CREATE TABLE parents (name VARCHAR(50) NOT NULL PRIMARY KEY, rank INTEGER UNIQUE)",
    "CREATE TABLE children (name VARCHAR(50) NOT NULL, n INTEGER DEFAULT '7' NOT NULL, note VARCHAR(50), "
    "PRIMARY KEY (name, n), FOREIGN KEY (name) REFERENCES parents (name) ON UPDATE CASCADE ON DELETE CASCADE)",
    "CREATE TABLE toys (id INTEGER NOT NULL PRIMARY KEY, child VARCHAR(50), n INTEGER, "
    "FOREIGN KEY (child, n) REFERENCES children (name, n) ON UPDATE CASCADE ON DELETE SET NULL)",
    "INSERT INTO parents VALUES ('a', 1), ('b', 2), ('c', 3), ('d', NULL)",
    "INSERT INTO children VALUES ('a', 1, 'x'), ('a', 2, NULL), ('b', 1, ''), ('c', 1, 'y')",
    "INSERT INTO toys VALUES (1, 'a', 1), (2, 'a', 2), (3, 'b', 1), (4, NULL, NULL)",
)

WRITES: dict[str, tuple[str, ...]] = {
    "insert": ("INSERT INTO params VALUES ('new', 'v', '00000000000000000000000000000001')",),
    "update": ("UPDATE params SET value = 'changed' WHERE key = 'p1'",),
    "delete": ("DELETE FROM params WHERE key = 'p2'",),
    "to NULL": ("UPDATE tags SET value = NULL",),
    "from NULL": ("UPDATE runs SET user_id = 'somebody' WHERE user_id IS NULL",),
    "key": ("UPDATE params SET key = 'p1b' WHERE key = 'p1'",),
    "key and back": ("UPDATE params SET key = 'z' WHERE key = 'p1'", "UPDATE params SET key = 'p1' WHERE key = 'z'"),
    "keys shifted": ("UPDATE spans SET trace_id = trace_id || 'x'",),
    "float in the key": ("UPDATE metrics SET value = value / 3 WHERE key = 'third'",),
    "flag in the key": ("UPDATE metrics SET is_nan = NOT is_nan WHERE key = 'tiny'",),
    "extreme values": (
        "INSERT INTO metrics VALUES ('max', 1.7976931348623157e308, 9223372036854775807, "
        "'00000000000000000000000000000001', -9223372036854775807, CAST(1 = 1 AS BOOLEAN))",
        "INSERT INTO metrics VALUES ('min', -5e-324, -9223372036854775807, "
        "'00000000000000000000000000000001', 9223372036854775807, CAST(1 = 0 AS BOOLEAN))",
    ),
    "parent renamed": ("UPDATE parents SET name = 'z' WHERE name = 'a'",),
    "parent deleted": ("DELETE FROM parents WHERE name = 'a'",),
    "model renamed": ("UPDATE registered_models SET name = 'renamed' WHERE name = 'model'",),
    "unique values swapped": (
        "UPDATE parents SET rank = -1 WHERE name = 'a'",
        "UPDATE parents SET rank = 1 WHERE name = 'b'",
        "UPDATE parents SET rank = 2 WHERE name = 'a'",
    ),
    "unique values rotated by names": (
        "UPDATE experiments SET name = 'tmp' WHERE experiment_id = 1",
        "UPDATE experiments SET name = 'Default' WHERE experiment_id = 2",
        "UPDATE experiments SET name = 'other' WHERE experiment_id = 1",
    ),
    "upsert": (
        "INSERT INTO tags VALUES ('mlflow.note', 'new', '00000000000000000000000000000000') "
        "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value",
    ),
    "deleted and made again": (
        "DELETE FROM blobs WHERE name = 'bytes'",
        "INSERT INTO blobs (name, data) VALUES ('bytes', NULL)",
    ),
    "emptied": ("DELETE FROM metrics",),
    "counted up": ("INSERT INTO experiments (name, lifecycle_stage) VALUES ('counted', 'active')",),
    "generated": ("UPDATE spans SET end_ns = start_ns + 99",),
}


class Refused(Exception):
    """The database did not do it; says why."""


class Writer(Protocol):
    """One client's connection; statements are in a transaction until `commit`. Foreign keys act."""

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None: ...

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class _SqliteWriter:
    def __init__(self, store: Store, durable: bool) -> None:
        self._connection = sqlite3.connect(store.uri.path, timeout=20, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA foreign_keys = ON")
        if not durable:
            self._connection.execute("PRAGMA synchronous = OFF")

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            self._connection.execute(sql, params or {})
        except sqlite3.Error as error:
            raise Refused(str(error)) from error

    def commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise Refused(str(error)) from error

    def rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        self._connection.close()


class _PostgresqlWriter:
    def __init__(self, store: Store) -> None:
        self._connection = psycopg.connect(store.uri.reveal())

    def execute(self, sql: str, params: Mapping[str, Any] | None = None) -> None:
        text, values = bind(sql, params)
        try:
            self._connection.execute(cast("Any", text), values)
        except psycopg.Error as error:
            raise Refused(str(error)) from error

    def commit(self) -> None:
        try:
            self._connection.commit()
        except psycopg.Error as error:
            raise Refused(str(error)) from error

    def rollback(self) -> None:
        self._connection.rollback()

    def close(self) -> None:
        self._connection.close()


@contextlib.contextmanager
def writer(store: Store, *, durable: bool = False) -> Iterator[Writer]:
    """A client that writes; what it did not commit is rolled back at the end. `durable`: with the engine's defaults."""
    made: Writer = _SqliteWriter(store, durable) if store.uri.engine is Engine.SQLITE else _PostgresqlWriter(store)
    try:
        yield made
        made.rollback()
    finally:
        made.close()


def write(store: Store, *statements: str) -> None:
    """One transaction, committed."""
    with writer(store) as client:
        for statement in statements:
            client.execute(statement)
        client.commit()


def prepare(harness: StoreHarness, store: Store) -> None:
    """Make the database of the harness one that can be captured, with foreign keys that cascade twice."""
    for statement in PREPARE:
        harness.execute(store, statement)


# --- following -----------------------------------------------------------------------------------------------


def follow(blue: Live, green: Live, limit: int | None = None) -> int:
    """One epoch: read, apply, only then forget; how many keys."""
    with blue.changes(limit) as view:
        delta = taken(blue, view)
        token = view.token
    try:
        apply(green, delta)
    except StoreError:
        if limit is None:
            raise
        # Two rows that swapped a unique value collide when only one of them is among so many entries.
        return follow(blue, green)
    blue.consume(token)
    return sum(len(keys) for keys, _, _ in delta.values())


def converge(blue: Live, green: Live, limit: int | None = None) -> None:
    while before := blue.backlog():
        follow(blue, green, limit)
        assert blue.backlog() < before, "an epoch consumed nothing, and nobody writes"


def straight(found: Live) -> list[Straight]:
    """Every table as it is."""
    return [
        Straight(
            source=name, table=name, key=shape.key, columns={column: column for column in shape.columns}, constants={}
        )
        for name, shape in found.shapes().items()
    ]


Delta = dict[str, tuple[Sequence[Key], list[Row], bool]]


def taken(live: Live, view: View) -> Delta:
    """Table -> its changed keys, the rows under them now, and whether these are all rows of the table."""
    shapes = live.shapes()
    found: Delta = {
        name: (list(keys), view.rows(name, shapes[name].key, keys), False) for name, keys in view.changed.items()
    }
    for name in view.whole:
        found[name] = ([], view.between(name, None, None), True)
    return found


def apply(green: Live, delta: Delta) -> None:
    with green.applying() as target:
        replace(green, target, delta)


def replace(green: Live, target: Target, delta: Delta) -> None:
    """All keys go before any row comes, so that rows which swapped a unique value do not collide."""
    shapes = green.shapes()
    for name, (keys, _, whole) in delta.items():
        if whole:
            target.clear(name)
        else:
            target.delete(name, shapes[name].key, keys)
    for name, (_, rows, _) in delta.items():
        target.insert(name, shapes[name].columns, rows)


def equal(blue: Store, green: Store) -> tuple[str, ...]:
    """Tables that differ; counters outside of rows (an engine may fingerprint these too) are left out."""
    kept = {name: columns for name, columns in blue.columns().items() if not name.startswith(("sqlite_", "("))}
    return blue.fingerprint(columns=kept).differences(green.fingerprint(columns=kept))


def ours(store: Store) -> list[str]:
    """The names of everything in the catalogue that liftlock made."""
    if store.uri.engine is Engine.SQLITE:
        query = "SELECT name FROM sqlite_master WHERE name LIKE '%liftlock%'"
    else:
        query = (
            "SELECT relname::text AS name FROM pg_class WHERE relname LIKE '%liftlock%' UNION ALL "
            "SELECT tgname::text FROM pg_trigger WHERE tgname LIKE '%liftlock%' UNION ALL "
            "SELECT proname::text FROM pg_proc WHERE proname LIKE '%liftlock%' UNION ALL "
            "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE '%liftlock%'"
        )
    return [row["name"] for row in store.rows(query)]


def logged(found: Live) -> dict[str, int]:
    """Table -> how many keys wait in the log."""
    with found.look() as view:
        return {name: len(keys) for name, keys in view.changed.items()}


# --- writing at random ---------------------------------------------------------------------------------------

_RANDOM = (
    "INSERT INTO params VALUES ('k' || CAST(:x AS VARCHAR(9)), 'v', :run) ON CONFLICT (key, run_uuid) "
    "DO UPDATE SET value = 'w'",
    "UPDATE params SET value = 'u' || value WHERE key = 'p' || CAST(:y AS VARCHAR(9)) AND length(value) < 50",
    "DELETE FROM params WHERE key = 'k' || CAST(:x AS VARCHAR(9))",
    "UPDATE params SET key = key || 'x' WHERE key = 'k' || CAST(:x AS VARCHAR(9)) AND run_uuid = :run",
    "UPDATE tags SET value = NULL WHERE run_uuid = :run",
    "UPDATE tags SET value = CAST(:x AS VARCHAR(9)) WHERE run_uuid = :run",
    "DELETE FROM metrics WHERE step = :y - 1 AND key = 'loss' AND run_uuid = :run",
    "INSERT INTO parents VALUES ('n' || CAST(:x AS VARCHAR(9)), NULL) ON CONFLICT (name) DO NOTHING",
    "INSERT INTO children SELECT name, :y, NULL FROM parents WHERE name = 'n' || CAST(:x AS VARCHAR(9)) "
    "ON CONFLICT (name, n) DO UPDATE SET note = 'again'",
    "INSERT INTO toys SELECT 100 + :x, name, n FROM children WHERE n = :y LIMIT 1 "
    "ON CONFLICT (id) DO UPDATE SET child = excluded.child, n = excluded.n",
    "UPDATE parents SET name = name || 'r' WHERE name = 'n' || CAST(:x AS VARCHAR(9))",
    "DELETE FROM parents WHERE name = 'n' || CAST(:x AS VARCHAR(9))",
    "UPDATE parents SET rank = -rank WHERE rank = :y OR rank = -:y",
    "UPDATE children SET n = n + 10 WHERE n = :y",
    "INSERT INTO experiments (name, lifecycle_stage) VALUES ('e' || CAST(:x AS VARCHAR(9)), 'active') "
    "ON CONFLICT (name) DO NOTHING",
    "UPDATE experiments SET name = name || '~' WHERE experiment_id = :y AND length(name) < 90",
    "UPDATE blobs SET data = NULL WHERE name = 'bytes'",
    "UPDATE spans SET end_ns = start_ns + :x WHERE trace_id = 'tr-' || CAST(:y AS VARCHAR(9))",
)


def scribble(client: Writer, random: Random) -> bool:
    """One random transaction; whether it was committed (else it was rolled back: a statement collided, or by lot)."""
    try:
        for _ in range(random.randint(1, 4)):
            values = {"x": random.randrange(30), "y": random.randrange(1, 6), "run": f"{random.randrange(6):032x}"}
            statement = random.choice(_RANDOM)
            client.execute(statement, {name: value for name, value in values.items() if f":{name}" in statement})
        if random.random() < 0.2:
            client.rollback()
            return False
        client.commit()
    except Refused:
        client.rollback()
        return False
    return True


@contextlib.contextmanager
def scribbling(store: Store, seed: int, *, pause: float = 0.002, clients: int = 1) -> Iterator[None]:
    """Clients in threads write at random until the block ends."""
    stop = threading.Event()

    def work(number: int) -> None:
        random = Random(seed * 1000 + number)
        with writer(store) as client:
            while not stop.wait(pause):
                scribble(client, random)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# --- a whole move, there and back ----------------------------------------------------------------------------

_COUNTED = "INSERT INTO experiments (name, lifecycle_stage) VALUES ('counted', 'active')"


def move_there_and_back(
    store: Store, make: Callable[[Store], Live], random: Random, scribble: Callable[[Writer, Random], bool] = scribble
) -> None:
    """Follow a database that is written all the time into a copy, cut over, write there, and follow it back.

    Portions are random, epochs fail before and after they were applied, entries are consumed twice. Fails with
    AssertionError or StoreError unless everything is equal in the end, nothing was written past the fence, no echo
    came back, counters went on, and nothing of liftlock is left. `make` may give a broken Live, to be caught here.
    """
    schema = store.schema_dump()
    target = store.scratch("green")
    blue = make(store)
    with writer(store) as client:

        def some(_: object = None) -> None:
            for _turn in range(random.choice((0, 0, 1, 2, 3))):
                scribble(client, random)

        try:
            some()
            blue.capture()
            some()
            blue.copy_to(target, observer=some)
            green = make(target)
            assert ours(target) == []
            for _turn in range(6):
                some()
                _stumble(blue, green, random, some)
            converge(blue, green)
            client.execute("UPDATE blobs SET data = NULL WHERE name = 'empty'")
            client.commit()
            with blue.changes() as view:
                delta, token = taken(blue, view), view.token
            apply(green, delta)
            blue.consume(token)
            client.execute("DELETE FROM blobs WHERE name = 'none'")
            client.commit()
            blue.consume(token)
            client.execute(_COUNTED)
            client.execute("DELETE FROM experiments WHERE name = 'counted'")
            client.commit()
            with blue.fence("moved", seconds=60, patience=5) as view:
                apply(green, taken(blue, view))
                token = view.token
            for _ in range(20):
                scribble(client, random)
            assert equal(store, target) == (), "or somebody wrote past the fence"
            blue.consume(token)
            assert blue.backlog() == 0
            given = blue.sequences()
            green.advance(given)
            green.capture()
            with writer(target) as other:
                other.execute(_COUNTED)
                other.commit()
                for _turn in range(5):
                    scribble(other, random)
                    follow(green, blue, random.choice((3, None)))
            converge(green, blue)
            assert blue.backlog() == 0, "an echo"
            assert equal(target, store) == ()
            for row in target.rows("SELECT experiment_id FROM experiments WHERE name = 'counted'"):
                assert row["experiment_id"] > max(given.values())
            green.release()
            blue.release()
            assert ours(store) == ours(target) == []
            assert store.schema_dump() == target.schema_dump() == schema
            assert (store.check_integrity(), target.check_integrity()) == ((), ())
        finally:
            target.drop()


def _stumble(blue: Live, green: Live, random: Random, some: Callable[[], None]) -> None:
    """One epoch that may fail at each of its steps, while others write."""
    limit = random.choice((1, 3, 10, None))
    with blue.changes(limit) as view:
        delta = taken(blue, view)
        token = view.token
    some()
    if random.random() < 0.3:
        return
    try:
        apply(green, delta)
    except StoreError:
        if limit is None:
            raise
        return
    some()
    if random.random() < 0.3:
        return
    blue.consume(token)
    some()
    if random.random() < 0.5:
        blue.consume(token)
