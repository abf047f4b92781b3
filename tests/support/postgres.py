"""PostgreSQL for the conformance suite: a server of our own, and a second process to hold a database open."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import psycopg
from psycopg import sql

from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.stores.postgresql import PostgresqlStore
from liftlock.stores.postgresql_connect import bind
from tests.support.mlflow_schema import data, ddl

_HOLD = """
import sys, psycopg
connection = psycopg.connect(sys.stdin.readline().strip(), application_name="mlflow")
print(connection.info.backend_pid, flush=True)
sys.stdin.read()
"""


def fill(uri: str, role: Role = Role.TRACKING) -> None:
    """Put the schema and the rows of `mlflow_schema` into an empty database."""
    with psycopg.connect(uri) as connection:
        for statement in ddl(Engine.POSTGRESQL, role):
            connection.execute(statement.encode())
        for table, rows in data(role).items():
            for row in rows:
                connection.execute(
                    sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                        sql.Identifier(table),
                        sql.SQL(", ").join(map(sql.Identifier, row)),
                        sql.SQL(", ").join(sql.Placeholder() * len(row)),
                    ),
                    list(row.values()),
                )


@contextmanager
def held_open(uri: str) -> Iterator[int]:
    """Another process is connected; yields the process id of its session in the server."""
    child = subprocess.Popen([sys.executable, "-c", _HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdin
    assert child.stdout
    try:
        child.stdin.write(uri + "\n")
        child.stdin.flush()
        yield int(child.stdout.readline())
    finally:
        child.communicate("", timeout=30)


class Harness:
    engine = Engine.POSTGRESQL

    def __init__(self, directory: Path) -> None:
        self.server = PostgresServer(directory / "postgres", durable=False)

    def start(self) -> None:
        self.server.__enter__()

    def stop(self) -> None:
        self.server.__exit__(None, None, None)

    def new_store(self, role: Role, name: str) -> PostgresqlStore:
        uri = self.server.create_database(name)
        fill(uri.reveal(), role)
        return PostgresqlStore(uri, role)

    def execute(self, store: PostgresqlStore, sql: str, params: Mapping[str, Any] | None = None) -> None:
        text, values = bind(sql, params)
        with psycopg.connect(store.uri.reveal()) as connection:
            connection.execute(cast("Any", text), values)

    @contextmanager
    def hold_open(self, store: PostgresqlStore) -> Iterator[int]:
        with held_open(store.uri.reveal()) as pid:
            yield pid
