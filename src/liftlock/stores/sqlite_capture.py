"""Triggers that log which rows of a SQLite database change: the key of every row inserted, updated or deleted.

An update logs the key before where it differs from the key after; where only an update that names a column of the key
can change it, that has a trigger of its own, so that the others need not look. A REPLACE that meets another row's
unique value removes that row without firing a DELETE trigger, so triggers before the change log the keys of such rows.
A DELETE without WHERE fires row triggers as soon as there are any, and so do the actions of foreign keys.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from liftlock.errors import StoreError
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.sqlite_connection import quote


class KeyLog:
    """A log table and its triggers; their names begin with `prefix`. `unless` is a condition that keeps them quiet."""

    def __init__(self, table: str, prefix: str, *, unless: str = "") -> None:
        self.table = table
        self._prefix = prefix
        self._when = f"WHEN NOT ({unless}) " if unless else ""

    def statements(self, connection: sqlite3.Connection, tables: Sequence[schema.Table]) -> Iterator[str]:
        """What makes the log and all triggers. Columns of the log: `id`, `t` (the table's name), `k0`, `k1` ..."""
        # No declared types: keys keep the type they have. A plain rowid: AUTOINCREMENT would write sqlite_sequence.
        width = max((len(table.key) for table in tables), default=1)
        yield f"CREATE TABLE {self.table} (id INTEGER PRIMARY KEY, t, {', '.join(f'k{n}' for n in range(width))})"
        for number, table in enumerate(tables):
            into = f"INSERT INTO {self.table} (t, {', '.join(f'k{n}' for n in range(len(table.key)))})"
            name = "'" + table.name.replace("'", "''") + "'"
            for event, rows in self.logged().items():
                for which, parts in _apart(event, rows, table):
                    inserts = " ".join(_insert(into, name, event, row, table) for row in parts)
                    yield self._trigger("after", which, number, table, inserts)
            inserts = " ".join(
                f"{into} SELECT {name}, {', '.join(map(quote, table.key))} FROM {quote(table.name)} WHERE {same};"
                for same in self.replaced(connection, table)
            )
            if inserts:
                yield self._trigger("before", "INSERT", number, table, inserts)
                yield self._trigger("before", "UPDATE", number, table, inserts)

    def logged(self) -> dict[str, tuple[str, ...]]:
        """Which keys each event logs: an update of a key concerns the row under both."""
        return {"INSERT": ("NEW",), "UPDATE": ("OLD", "NEW"), "DELETE": ("OLD",)}

    def replaced(self, connection: sqlite3.Connection, table: schema.Table) -> list[str]:
        """Conditions for rows that a REPLACE would remove: SQLite fires no DELETE trigger for these."""
        found = []
        for index in schema.unique_indexes(connection, table.name):
            if index.expression:
                raise StoreError(
                    f"the database is being written and {table.name} has a unique index on an expression",
                    hint="Stop the server, then try again: a quiet database can be copied.",
                    retryable=True,
                )
            same = (f"{quote(name)} = NEW.{quote(name)} COLLATE {quote(rule)}" for name, rule in index.columns)
            found.append(" AND ".join(same))
        return found

    def _trigger(self, moment: str, event: str, number: int, table: schema.Table, body: str) -> str:
        name = f"{self._prefix}{moment}_{'KEY' if ' OF ' in event else event}_{number}"
        return f"CREATE TRIGGER {name} {moment.upper()} {event} ON {quote(table.name)} {self._when}BEGIN {body} END"


def _apart(event: str, rows: tuple[str, ...], table: schema.Table) -> list[tuple[str, tuple[str, ...]]]:
    """The triggers of an event: when they fire, and whose keys they log.

    A rowid has names of its own, which `OF` does not know.
    """
    if not rows:
        return []
    if event != "UPDATE" or "OLD" not in rows or table.key_is_rowid:
        return [(event, rows)]
    named = (f"UPDATE OF {', '.join(map(quote, table.key))}", ("OLD",))
    others = tuple(row for row in rows if row != "OLD")
    return [named, (event, others)] if others else [named]


def _insert(into: str, name: str, event: str, row: str, table: schema.Table) -> str:
    key = ", ".join(f"{row}.{quote(column)}" for column in table.key)
    if (event, row) != ("UPDATE", "OLD"):
        return f"{into} VALUES ({name}, {key});"
    other = " OR ".join(f"OLD.{quote(column)} IS NOT NEW.{quote(column)} COLLATE BINARY" for column in table.key)
    return f"{into} SELECT {name}, {key} WHERE {other};"
