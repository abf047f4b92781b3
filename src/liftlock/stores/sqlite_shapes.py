"""The tables of a SQLite database as an online upgrade sees them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

from liftlock.stores import sqlite_schema as schema
from liftlock.stores.live import Shape
from liftlock.stores.sqlite_connection import quote

_VERSIONS = "alembic_version"


def shapes(connection: sqlite3.Connection) -> dict[str, Shape]:
    """All tables but Alembic's, SQLite's and liftlock's."""
    names = [name for name in schema.table_names(connection) if not name.startswith((_VERSIONS, "sqlite_"))]
    return {name: _shape(connection, schema.table(connection, name)) for name in names}


def fenced_tables(connection: sqlite3.Connection) -> list[str]:
    """All tables that somebody could write to: SQLite keeps its own ones, and they change with these only."""
    return [name for name in schema.table_names(connection) if not name.startswith("sqlite_")]


def _shape(connection: sqlite3.Connection, table: schema.Table) -> Shape:
    return Shape(
        name=table.name,
        columns=table.stored,
        key=table.key,
        defaults=_defaults(connection, table),
        references=_references(connection, table.name),
    )


def _defaults(connection: sqlite3.Connection, table: schema.Table) -> dict[str, Any]:
    """What a new row holds: SQLite itself evaluates the expressions and gives the value the column's type."""
    info = [row for row in connection.execute(f"PRAGMA table_xinfo({quote(table.name)})") if row[1] in table.stored]
    columns = (f"{quote(row[1])} {row[2]}" + (f" DEFAULT ({row[4]})" if row[4] is not None else "") for row in info)
    with closing(sqlite3.connect(":memory:")) as scratch:
        scratch.execute(f"CREATE TABLE t ({', '.join(columns)})")
        scratch.execute("INSERT INTO t DEFAULT VALUES")
        values = scratch.execute("SELECT * FROM t").fetchone()
    return dict(zip((row[1] for row in info), values, strict=True))


def _references(connection: sqlite3.Connection, name: str) -> tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]:
    parts: dict[int, list[tuple[str, str, str | None]]] = {}
    for row in sorted(connection.execute(f"PRAGMA foreign_key_list({quote(name)})")):
        parts.setdefault(row[0], []).append((row[2], row[3], row[4]))
    found = []
    for columns in parts.values():
        parent = columns[0][0]
        # Without columns a reference means the parent's primary key.
        other = tuple(to for _, _, to in columns if to is not None) or _primary_key(connection, parent)
        found.append((tuple(column for _, column, _ in columns), parent, other))
    return tuple(found)


def _primary_key(connection: sqlite3.Connection, name: str) -> tuple[str, ...]:
    rows = [row for row in connection.execute(f"PRAGMA table_xinfo({quote(name)})") if row[5]]
    return tuple(row[1] for row in sorted(rows, key=lambda row: int(row[5])))
