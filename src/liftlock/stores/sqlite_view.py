"""Rows of a SQLite database read and replaced by their values: the View and the Target of an online upgrade."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.errors import StoreError
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.live import Key, Row, Shape
from liftlock.stores.sqlite_connection import errors, quote

Token = tuple[int, int] | None
_FEW = 8
"""Up to so many values are looked up one by one; more go through a temporary table, which costs a fixed amount."""


@dataclass
class SqliteView:
    """One state of a database; the transaction belongs to whoever made this. See `stores.live.View`."""

    path: Path
    connection: sqlite3.Connection
    shapes: Mapping[str, Shape]
    changed: Mapping[str, frozenset[Key]]
    token: Token = None
    whole: frozenset[str] = field(default=frozenset())

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """The rows whose `columns` have one of these combinations of values."""
        with errors(self.path):
            return rows_with(self.connection, _known(self.shapes, table), columns, values)

    def after(self, table: str, key: Key | None, limit: int) -> list[Row]:
        """At most `limit` rows behind `key`, in the order of the primary key."""
        shape = _known(self.shapes, table)
        where, values = _range(shape, key, None)
        with errors(self.path):
            sql = f"{_select(shape)} {where} ORDER BY {', '.join(map(quote, shape.key))} LIMIT ?"
            return self.connection.execute(sql, (*values, limit)).fetchall()

    def between(self, table: str, low: Key | None, high: Key | None) -> list[Row]:
        """The rows with low < primary key <= high."""
        shape = _known(self.shapes, table)
        where, values = _range(shape, low, high)
        with errors(self.path):
            return self.connection.execute(f"{_select(shape)} {where}", values).fetchall()


@dataclass
class SqliteTarget:
    """A transaction in which rows are replaced; it belongs to whoever made this. See `stores.live.Target`."""

    path: Path
    connection: sqlite3.Connection
    shapes: Mapping[str, Shape]
    lost: bool = False

    def delete(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> int:
        """Delete the rows whose `columns` have one of these combinations of values; how many."""
        with errors(self.path):
            return delete_with(self.connection, _known(self.shapes, table), columns, values)

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows; where one is refused, the transaction can only be given up."""
        self.lost = True
        with errors(self.path):
            self.connection.executemany(_insert(table, columns), rows)
        self.lost = False

    def refused(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Insert rows; those that this schema cannot hold, with SQLite's reason."""
        sql = _insert(table, columns)
        with errors(self.path):
            self.connection.execute("SAVEPOINT liftlock")
            try:
                self.connection.executemany(sql, rows)
                return []
            except (sqlite3.IntegrityError, sqlite3.DataError):
                self.connection.execute("ROLLBACK TO liftlock")
            finally:
                self.connection.execute("RELEASE liftlock")
            found = []
            for row in rows:  # a statement that fails leaves nothing behind
                try:
                    self.connection.execute(sql, row)
                except (sqlite3.IntegrityError, sqlite3.DataError) as error:
                    found.append((row, " ".join(str(error).split())))
            return found

    def clear(self, table: str) -> None:
        """Delete all rows."""
        with errors(self.path):
            self.connection.execute(f"DELETE FROM {quote(table)}")

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """As the view's, in this transaction."""
        with errors(self.path):
            return rows_with(self.connection, _known(self.shapes, table), columns, values)


def rows_with(connection: sqlite3.Connection, shape: Shape, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
    """The rows of a table whose `columns` have one of these combinations of values; NULL equals NULL."""
    wanted = list(dict.fromkeys(values))
    if len(wanted) > _FEW:
        stored = ", ".join(f"r.{quote(column)}" for column in shape.columns)
        return connection.execute(f"SELECT {stored} FROM {_joined(connection, shape, columns, wanted)}").fetchall()
    sql = f"{_select(shape)} WHERE {_same(columns)}"
    return [row for key in wanted for row in connection.execute(sql, key)]


def delete_with(connection: sqlite3.Connection, shape: Shape, columns: Sequence[str], values: Iterable[Key]) -> int:
    """Delete the rows whose `columns` have one of these combinations of values, NULL equal to NULL; how many."""
    wanted = list(dict.fromkeys(values))
    table = quote(shape.name)
    if len(wanted) <= _FEW or not has_rowid(connection, shape):
        return connection.executemany(f"DELETE FROM {table} WHERE {_same(columns)}", wanted).rowcount
    # Found first and deleted in the order of the table, rows take half the time they take one by one.
    joined = _joined(connection, shape, columns, wanted)
    return connection.execute(f"DELETE FROM {table} WHERE _rowid_ IN (SELECT r._rowid_ FROM {joined})").rowcount


def _joined(connection: sqlite3.Connection, shape: Shape, columns: Sequence[str], wanted: Sequence[Key]) -> str:
    """Put the values into a temporary table; what to select the rows `r` from that have them."""
    name = f"{schema.LASTING}wanted_{len(columns)}"
    names = [f"k{n}" for n in range(len(columns))]
    connection.execute(f"CREATE TEMP TABLE IF NOT EXISTS {name} ({', '.join(names)})")
    connection.execute(f"DELETE FROM temp.{name}")
    connection.executemany(f"INSERT INTO temp.{name} VALUES ({', '.join('?' * len(names))})", wanted)
    same = " AND ".join(f"r.{quote(column)} IS w.{k} COLLATE BINARY" for column, k in zip(columns, names, strict=True))
    # CROSS keeps the order: the values outside, a look into the table's index for each.
    return f"temp.{name} w CROSS JOIN {quote(shape.name)} r ON {same}"


def has_rowid(connection: sqlite3.Connection, shape: Shape) -> bool:
    """Whether `_rowid_` names one row of the table."""
    if "_rowid_" in map(str.lower, shape.columns):
        return False  # a column of that name, which need not be unique
    try:
        connection.execute(f"SELECT _rowid_ FROM {quote(shape.name)} LIMIT 0")
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return False
    return True


def _known(shapes: Mapping[str, Shape], table: str) -> Shape:
    if table not in shapes:
        raise StoreError(f"there is no table {table} in this database", hint="Its schema is another one.")
    return shapes[table]


def _select(shape: Shape) -> str:
    return f"SELECT {', '.join(map(quote, shape.columns))} FROM {quote(shape.name)}"


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) VALUES ({', '.join('?' * len(columns))})"


def _same(columns: Sequence[str]) -> str:
    # Exactly this value, whatever the column's collation: else one row would answer to several values.
    return " AND ".join(f"{quote(name)} IS ? COLLATE BINARY" for name in columns)


def _range(shape: Shape, low: Key | None, high: Key | None) -> tuple[str, Row]:
    key = f"({', '.join(map(quote, shape.key))})"
    marks = f"({', '.join('?' * len(shape.key))})"
    parts = ([f"{key} > {marks}"] if low is not None else []) + ([f"{key} <= {marks}"] if high is not None else [])
    return (f"WHERE {' AND '.join(parts)}" if parts else "", (*(low or ()), *(high or ())))
