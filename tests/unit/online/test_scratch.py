"""Scratch databases: blue's schema and revision without its rows, for the owner's eyes, gone afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest

from liftlock.demo.postgres import PostgresServer
from liftlock.errors import ReleaseError
from liftlock.model.deployment import Role
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.online import scratch as module
from liftlock.online.scratch import PostgresqlScratch, SqliteScratch, scratch
from liftlock.releases.tools import WarmWorker
from liftlock.stores.interface import Store
from liftlock.stores.live import Row, Shape
from liftlock.stores.opening import live, open_store
from tests.support.commuting import sqlite_store

SCHEMA = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
    "INSERT INTO alembic_version VALUES ('old')",
    "CREATE TABLE parents (name VARCHAR(50) NOT NULL PRIMARY KEY)",
    "CREATE TABLE children (name VARCHAR(50) NOT NULL PRIMARY KEY, parent VARCHAR(50) NOT NULL "
    "REFERENCES parents (name))",
    "INSERT INTO parents VALUES ('secret')",
)
TARGET = {
    "children": Shape(name="children", columns=("name", "parent", "twice"), key=("name",), defaults={}, references=())
}
ROWS: dict[str, list[Row]] = {"children": [("b", "a"), ("c", "a")], "parents": [("a",)]}
EXPECTED = {"children": [("b", "a", "bb"), ("c", "a", "cc")]}


class Worker:
    """Stands for a release: one revision, and what it found."""

    def __init__(self) -> None:
        self.found: list[tuple[str, int]] = []
        self.settings: list[str] = []
        self.error: Exception | None = None

    def migrate(self, uri: StoreUri, chain: Role, *, timeout: float) -> None:
        connection: Any
        if uri.engine is Engine.SQLITE:
            assert uri.path.stat().st_mode & 0o077 == 0
            assert uri.path.parent.stat().st_mode & 0o777 == 0o700
            connection = closing(sqlite3.connect(uri.path, isolation_level=None))
        else:
            connection = psycopg.connect(uri.reveal())
        with connection as database:
            if uri.engine is not Engine.SQLITE:
                self.settings += [database.execute("SHOW synchronous_commit").fetchone()[0]]
            (version,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
            (rows,) = database.execute("SELECT count(*) FROM parents").fetchone()
            self.found.append((version, rows))
            if self.error:
                raise self.error
            database.execute("ALTER TABLE children ADD COLUMN twice VARCHAR(100)")
            database.execute("UPDATE children SET twice = name || name")


@pytest.fixture
def worker() -> Worker:
    return Worker()


@pytest.fixture
def blue(tmp_path: Path) -> Store:
    with closing(sqlite3.connect(tmp_path / "blue.db", isolation_level=None)) as file:
        for statement in SCHEMA:
            file.execute(statement)
    store = sqlite_store(tmp_path / "blue.db")
    live(store).capture()  # whose triggers have no business in a scratch database
    return store


def new(blue: Store, worker: Worker, directory: Path | None = None) -> SqliteScratch:
    return SqliteScratch(
        blue, "name", cast(WarmWorker, worker), live(blue).shapes(), TARGET, directory=directory
    )  # fmt: skip


def test_rows_come_out_as_the_migration_makes_them_and_nothing_else_is_there(
    blue: Store, worker: Worker, tmp_path: Path
) -> None:
    place = tmp_path / "memory"
    place.mkdir()
    made = new(blue, worker, place)
    made.prepare()
    assert not list(place.rglob("work.db*"))
    for _ in range(2):  # each time from an empty database
        assert made.migrate(ROWS, ["children"]).rows == EXPECTED
    assert worker.found == [("old", 1), ("old", 1)]
    assert not list(place.rglob("work.db*"))
    made.close()
    made.close()
    assert list(place.iterdir()) == []


def test_what_a_killed_process_left_is_replaced(blue: Store, worker: Worker, tmp_path: Path) -> None:
    new(blue, worker, tmp_path).prepare()
    (left,) = tmp_path.glob("liftlock-scratch-*")
    (left / "work.db").write_bytes(b"half of something")
    again = new(blue, worker, tmp_path)
    assert again.migrate(ROWS, ["children"]).rows == EXPECTED
    again.close()
    assert not left.exists()


def test_a_migration_that_fails_says_so_and_leaves_no_rows_behind(blue: Store, worker: Worker, tmp_path: Path) -> None:
    worker.error = ReleaseError("no")
    made = new(blue, worker, tmp_path)
    with pytest.raises(ReleaseError):
        made.migrate(ROWS, ["children"])
    assert not list(tmp_path.rglob("work.db*"))
    made.close()


def test_it_lies_in_memory_where_there_is_some(blue: Store, worker: Worker) -> None:
    made = scratch(blue, "in-memory", cast(WarmWorker, worker), live(blue).shapes(), TARGET)
    made.prepare()
    try:
        if Path("/dev/shm").is_dir():
            assert not list(blue.uri.path.parent.glob("liftlock-scratch-*"))
    finally:
        made.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False) as found:
        yield found


def test_the_same_on_postgresql_made_ahead(server: PostgresServer, worker: Worker) -> None:
    uri = server.create_database("blue")
    with psycopg.connect(uri.reveal()) as connection:
        for statement in SCHEMA:
            connection.execute(statement.encode())
    store = open_store(uri, Role.TRACKING)
    live(store).capture()
    made = scratch(store, "name", cast(WarmWorker, worker), live(store).shapes(), TARGET)
    assert isinstance(made, PostgresqlScratch)
    made.prepare()
    assert len(_databases(server)) == 2
    for _ in range(2):
        assert made.migrate(ROWS, ["children"]).rows == EXPECTED
    assert worker.found == [("old", 1), ("old", 1)]
    assert worker.settings == ["off", "off"]
    # A killed process leaves its databases; the next one of the same name takes them over.
    again = scratch(store, "name", cast(WarmWorker, worker), live(store).shapes(), TARGET)
    assert again.migrate(ROWS, ["children"]).rows == EXPECTED
    again.close()
    again.close()
    assert _databases(server) == {"blue"}


def test_a_login_that_does_not_own_public(server: PostgresServer, worker: Worker) -> None:
    """As before PostgreSQL 15: what cannot be emptied is made anew."""
    server.execute("CREATE ROLE plain LOGIN CREATEDB PASSWORD 'plain'")
    server.execute("GRANT SET ON PARAMETER session_replication_role TO plain")
    server.create_database("theirs")
    server.execute("ALTER DATABASE theirs OWNER TO plain")
    uri = server.uri("theirs", username="plain", password=Secret("plain"))
    with psycopg.connect(uri.reveal()) as connection:
        for statement in SCHEMA:
            connection.execute(statement.encode())
    store = open_store(uri, Role.TRACKING)
    made = scratch(store, "name", cast(WarmWorker, worker), live(store).shapes(), TARGET)
    for _ in range(3):
        made.prepare()
        (name,) = _databases(server, "theirs") - {"theirs"}
        server.execute("ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO plain", name)
        assert made.migrate(ROWS, ["children"]).rows == EXPECTED
    made.close()


def test_after_many_uses_it_is_made_anew(
    server: PostgresServer, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_USES", 2)
    uri = server.create_database("many")
    with psycopg.connect(uri.reveal()) as connection:
        for statement in SCHEMA:
            connection.execute(statement.encode())
    store = open_store(uri, Role.TRACKING)
    made = scratch(store, "name", cast(WarmWorker, worker), live(store).shapes(), TARGET)
    identities = []
    for _ in range(5):
        assert made.migrate(ROWS, ["children"]).rows == EXPECTED
        identities.append(_databases(server, "many", "oid"))
    made.close()
    assert [identities[0] == each for each in identities[:3]] == [True, True, False]
    assert identities[2] == identities[3] != identities[4]


def _databases(server: PostgresServer, prefix: str = "blue", what: str = "datname") -> set[str]:
    with psycopg.connect(server.uri("postgres").reveal()) as connection:
        query = f"SELECT {what} FROM pg_database WHERE datname LIKE '{prefix}%'"
        rows = connection.execute(query.encode()).fetchall()
    return {str(name) for (name,) in rows}
