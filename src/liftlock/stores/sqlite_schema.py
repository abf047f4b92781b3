"""What a SQLite database is made of, read from its catalogue; what liftlock itself put there is left out."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass

from liftlock.stores.sqlite_connection import quote

OURS = "_liftlock_"
LASTING = f"{OURS}live_"
"""What belongs to an online upgrade stays when the leftovers of a copy are removed."""


@dataclass(frozen=True)
class Column:
    """One column. `generated` ones are computed by SQLite and cannot be inserted."""

    name: str
    generated: bool


@dataclass(frozen=True)
class Table:
    """One ordinary table. `key` names the columns of a primary key that is unique and never NULL, else empty;
    `key_is_rowid` whether it is one column that is another name of the rowid.
    """

    name: str
    sql: str | None
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    key_is_rowid: bool

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that hold data of their own, in table order."""
        return tuple(column.name for column in self.columns if not column.generated)


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index beside the primary key: columns with their collations, and whether one is an expression."""

    columns: tuple[tuple[str, str], ...]
    expression: bool


def is_ours(name: str) -> bool:
    """Whether liftlock made this table or trigger (it may be left by a killed process)."""
    return name.startswith(OURS)


def ours(connection: sqlite3.Connection, prefix: str = OURS) -> list[tuple[str, str]]:
    """Type and name of the tables and triggers of liftlock that begin with `prefix`; triggers first."""
    found = connection.execute("SELECT type, name FROM sqlite_master WHERE type IN ('trigger', 'table')")
    return sorted(((kind, name) for kind, name in found if name.startswith(prefix)), reverse=True)


def table_names(connection: sqlite3.Connection) -> list[str]:
    """All ordinary tables in name order, with `sqlite_sequence` (it holds data) but no other table of SQLite's."""
    found = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 "
        "AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence') ORDER BY name"
    )
    return [name for (name,) in found if not is_ours(name)]


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    """All columns of a table, generated ones too, in name order; empty where there is no such table."""
    return sorted(row[1] for row in connection.execute(f"PRAGMA table_xinfo({quote(table)})") if row[6] != 1)


def table(connection: sqlite3.Connection, name: str) -> Table:
    """One table with its columns and key."""
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
    info = connection.execute(f"PRAGMA table_xinfo({quote(name)})").fetchall()
    found = tuple(Column(row[1], row[6] in (2, 3)) for row in info if row[6] != 1)
    key_rows = sorted((row for row in info if row[5]), key=lambda row: row[5])
    # SQLite lets a primary key hold NULL unless it is the rowid, or NOT NULL is said: such a key names no row.
    is_rowid = len(key_rows) == 1 and key_rows[0][2].upper() == "INTEGER"
    usable = is_rowid or all(row[3] for row in key_rows)
    return Table(name, sql, found, tuple(row[1] for row in key_rows) if usable else (), is_rowid)


def unique_indexes(connection: sqlite3.Connection, table: str) -> list[UniqueIndex]:
    """The unique indexes of a table, its primary key's left out."""
    found = []
    for _, name, unique, origin, _ in connection.execute(f"PRAGMA index_list({quote(table)})").fetchall():
        if unique and origin != "pk":
            parts = [row for row in connection.execute(f"PRAGMA index_xinfo({quote(name)})") if row[5]]
            columns = tuple((row[2], row[4]) for row in parts if row[2] is not None)
            found.append(UniqueIndex(columns, len(columns) < len(parts)))
    return found


def has_virtual_tables(connection: sqlite3.Connection) -> bool:
    """Whether there are tables kept by a module (full-text search and such), which hold their data elsewhere."""
    return (
        connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND rootpage = 0").fetchone() is not None
    )


def definitions(connection: sqlite3.Connection) -> list[tuple[str, str, str, str]]:
    """Type, name, table and SQL of everything that was created by a statement, in the order of creation."""
    found = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid"
    )
    return [row for row in found if not is_ours(row[1])]


def dump(connection: sqlite3.Connection) -> str:
    """The whole schema as sorted lines, white space made even."""
    lines = (f"{kind} {name} ON {table}: {_even(sql)}" for kind, name, table, sql in definitions(connection))
    return "\n".join(sorted(lines)) + "\n"


def _even(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()
