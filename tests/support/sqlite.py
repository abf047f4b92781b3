"""SQLite for the conformance suite: files in a directory, and a second process to hold them open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from random import Random
from typing import Any

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores.opening import open_store
from liftlock.stores.sqlite import SqliteStore
from tests.support.mlflow_schema import data, ddl

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
print("open", flush=True)
sys.stdin.read()
"""


def make_database(path: Path, role: Role = Role.TRACKING) -> SqliteStore:
    """A new file with the schema and rows of `mlflow_schema`."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        for statement in ddl(Engine.SQLITE, role):
            connection.execute(statement)
        for table, rows in data(role).items():
            for row in rows:
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(':' + name for name in row)})", row
                )
    store = open_store(StoreUri.parse(f"sqlite:///{path}"), role)
    assert isinstance(store, SqliteStore)
    return store


@contextmanager
def held_open(path: Path) -> Iterator[int]:
    """Another process has the file open for writing; yields its process id."""
    child = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin
    assert child.stdout
    try:
        assert child.stdout.readline() == "open\n"
        yield child.pid
    finally:
        child.communicate("", timeout=30)


class Harness:
    engine = Engine.SQLITE

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def new_store(self, role: Role, name: str) -> SqliteStore:
        return make_database(self._directory / f"{name}.db", role)

    def execute(self, store: SqliteStore, sql: str, params: Mapping[str, Any] | None = None) -> None:
        with closing(sqlite3.connect(store.path, timeout=20)) as connection, connection:
            connection.execute(sql, params or {})

    @contextmanager
    def hold_open(self, store: SqliteStore) -> Iterator[int]:
        with held_open(store.path) as pid:
            yield pid


_BUSY_SCHEMA = """
PRAGMA page_size = 512;
CREATE TABLE counter (n INTEGER NOT NULL);
CREATE TABLE keyed (a TEXT NOT NULL, b INTEGER NOT NULL, v, u INTEGER UNIQUE, twice GENERATED ALWAYS AS (b * 2) STORED,
  PRIMARY KEY (a, b));
CREATE UNIQUE INDEX keyed_v ON keyed (v) WHERE v > 900;
CREATE INDEX keyed_b ON keyed (b);
CREATE TABLE flat (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE auto (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
CREATE TABLE nullable (k TEXT PRIMARY KEY, v);
CREATE TABLE keyless (a, b);
CREATE TABLE parent (name TEXT NOT NULL PRIMARY KEY);
CREATE TABLE child (name TEXT NOT NULL REFERENCES parent (name) ON UPDATE CASCADE ON DELETE CASCADE, n INTEGER NOT NULL,
  PRIMARY KEY (name, n));
CREATE TABLE heard (id INTEGER PRIMARY KEY, k);
CREATE TRIGGER hear AFTER DELETE ON flat BEGIN INSERT INTO heard (k) VALUES (OLD.k); END;
CREATE VIEW seen AS SELECT a, v FROM keyed;
"""
BUSY_TABLES = ("auto", "child", "counter", "flat", "heard", "keyed", "keyless", "nullable", "parent", "sqlite_sequence")


def make_busy_database(path: Path, *, journal_mode: str = "delete", rows: int = 60) -> None:
    """A file whose every committed state has a number of its own in `counter`."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_BUSY_SCHEMA)
        connection.execute(f"PRAGMA journal_mode = {journal_mode}")
        connection.execute("INSERT INTO counter VALUES (0)")
        for n in range(rows):
            connection.execute("INSERT INTO keyed (a, b, v, u) VALUES (?, ?, ?, ?)", (f"a{n % 7}", n, n, n))
            connection.execute("INSERT INTO flat VALUES (?, ?)", (f"k{n:04}", n))
            connection.execute("INSERT INTO auto (v) VALUES (?)", (n,))
            connection.execute("INSERT INTO nullable VALUES (?, ?)", (None if n % 3 else f"n{n}", n))
            connection.execute("INSERT INTO parent VALUES (?)", (f"p{n}",))
            connection.execute("INSERT INTO child VALUES (?, ?)", (f"p{n}", n))
        connection.commit()


_CHANGES = (
    "INSERT OR IGNORE INTO keyed (a, b, v, u) VALUES ('a' || :x, :y, :z, NULL)",
    "UPDATE OR IGNORE keyed SET v = :z WHERE b = :x",
    "UPDATE OR IGNORE keyed SET b = b + 100 * :y WHERE b = :x",
    "UPDATE OR IGNORE keyed SET a = 'z' || a WHERE b % 10 = :y % 10",
    "UPDATE OR REPLACE keyed SET u = :x WHERE b = :y",
    "DELETE FROM keyed WHERE b = :x",
    "INSERT OR REPLACE INTO keyed (a, b, v, u) VALUES ('r', :x, 1.5, :y)",
    "DELETE FROM flat WHERE k = printf('k%04d', :x)",
    "INSERT OR REPLACE INTO flat VALUES (printf('k%04d', :x), :z)",
    "UPDATE OR REPLACE flat SET k = printf('k%04d', :x) WHERE k = printf('k%04d', :y)",
    "INSERT INTO auto (v) VALUES (:z)",
    "DELETE FROM auto WHERE id = :x",
    "UPDATE OR IGNORE auto SET id = id + 1000 WHERE id = :x",
    "INSERT INTO nullable VALUES (NULL, :z)",
    "DELETE FROM nullable WHERE v = :x",
    "INSERT INTO keyless VALUES (:x, :y), (:x, :y)",
    "DELETE FROM keyless WHERE a = :x",
    "UPDATE OR IGNORE parent SET name = 'q' || :y WHERE name = 'p' || :x",
    "DELETE FROM parent WHERE name = 'p' || :x",
)


def change(connection: sqlite3.Connection, random: Random) -> int:
    """One random transaction, committed; the number of the state after it."""
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(random.randint(1, 4)):
        values = {
            "x": random.randrange(70),
            "y": random.randrange(70),
            "z": random.choice([None, "", 1, 1.0, b"", 1000]),
        }
        connection.execute(random.choice(_CHANGES), values)
    (number,) = connection.execute("UPDATE counter SET n = n + 1 RETURNING n").fetchall()[0]
    connection.execute("COMMIT")
    return int(number)


def contents(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """All rows of the busy database, in an order of their own."""
    return {name: sorted(map(repr, connection.execute(f"SELECT * FROM {name}"))) for name in BUSY_TABLES}


def contents_of(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as connection:
        return contents(connection)


_WRITER = """
import sqlite3, sys
from random import Random
from tests.support.sqlite import change
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)
connection.execute("PRAGMA synchronous = OFF")
random = Random(int(sys.argv[2]))
number = change(connection, random)
print("open", flush=True)
import select
while not select.select([sys.stdin], [], [], float(sys.argv[3]))[0]:
    change(connection, random)
"""


@contextmanager
def busy_writer(path: Path, seed: int, *, pause: float = 0.0) -> Iterator[int]:
    """Another process commits random transactions, `pause` seconds apart, until the block ends; yields its id."""
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), str(seed), str(pause)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin
    assert child.stdout
    try:
        assert child.stdout.readline() == "open\n"
        yield child.pid
    finally:
        child.communicate("\n", timeout=60)
    assert child.returncode == 0


def replayed(path: Path, seed: int, number: int, *, rows: int) -> dict[str, list[str]]:
    """What the busy database held after `number` transactions of a writer with this seed."""
    make_busy_database(path, rows=rows)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        random = Random(seed)
        while connection.execute("SELECT n FROM counter").fetchone()[0] < number:
            change(connection, random)
        return contents(connection)
