"""SQLite for the conformance suite: files in a directory, and a second process to hold them open."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
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
