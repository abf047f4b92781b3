"""A database with as many traces as are wanted: those that a real client made, again and again under other ids."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import psycopg

from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from tests.support import upgrades

# Which column of each table names the trace, and which others must stay unique.
_KEYS = {
    "trace_info": ("request_id",),
    "trace_tags": ("request_id",),
    "trace_request_metadata": ("request_id",),
    "trace_metrics": ("request_id",),
    "spans": ("trace_id",),
    "span_metrics": ("trace_id",),
    "assessments": ("trace_id", "assessment_id"),
}


def fill_traces(made: upgrades.Deployment, server: PostgresServer | None, wanted: int) -> int:
    """Add traces until there are about `wanted`; how many there are."""
    uri = made.uris[Role.TRACKING]
    if server is not None:
        with psycopg.connect(uri.reveal()) as connection:
            known = _number(connection.execute("SELECT count(*) FROM trace_info").fetchone())
            for table, keys in _KEYS.items():
                columns = [
                    str(name)
                    for (name,) in connection.execute(
                        "SELECT column_name FROM information_schema.columns WHERE table_name = %s AND table_schema ="
                        " 'public' AND is_generated = 'NEVER' ORDER BY ordinal_position",
                        (table,),
                    )
                ]
                source = f"generate_series(1, {wanted // known - 1}) n(i)"
                connection.execute(_copies(table, keys, columns, source).encode())
            return _number(connection.execute("SELECT count(*) FROM trace_info").fetchone())
    with closing(sqlite3.connect(uri.path)) as file, file:
        known = _number(file.execute("SELECT count(*) FROM trace_info").fetchone())
        for table, keys in _KEYS.items():
            # `table_info` leaves generated columns out.
            columns = [str(row[1]) for row in file.execute(f"PRAGMA table_info({table})")]
            source = (
                f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {wanted // known - 1})"
                " SELECT i FROM n) n"
            )
            file.execute(_copies(table, keys, columns, source))
        return _number(file.execute("SELECT count(*) FROM trace_info").fetchone())


def _copies(table: str, keys: tuple[str, ...], columns: list[str], source: str) -> str:
    """Every row of a table once for each `i` of the source, its keys ending in `-i`."""
    given = [f"o.{name} || '-' || n.i" if name in keys else f"o.{name}" for name in columns]
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(given)} FROM {table} o CROSS JOIN {source}"


def _number(row: tuple[int, ...] | None) -> int:
    assert row is not None
    return int(row[0])
