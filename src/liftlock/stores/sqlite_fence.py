"""The fence inside a SQLite database: triggers that fail every write until a deadline, or for good.

A process that waits for our lock while the fence is put up prepares its statement anew when it gets the lock, finds
the triggers and fails: a lock alone would let it commit.
"""

from __future__ import annotations

import sqlite3

from liftlock.stores import sqlite_schema as schema
from liftlock.stores.sqlite_connection import quote
from liftlock.stores.sqlite_shapes import fenced_tables

APPLIER = f"{schema.LASTING}applier"
"""A row in this table, inside the applier's own transaction, keeps capture and fence quiet."""

APPLYING = f"SELECT 1 FROM {APPLIER}"
_FENCE = f"{schema.LASTING}fence"
# A Julian day has parts of a millisecond, and every release of SQLite knows the function.
_STANDS = f"SELECT 1 FROM {_FENCE} WHERE until > julianday('now')"
_NEVER = 1e9
EVENTS = ("INSERT", "UPDATE", "DELETE")


def put_up(connection: sqlite3.Connection, label: str, seconds: float | None) -> None:
    """Refuse every write but the applier's, with an error that says `label`, for `seconds` (None: until taken down).

    The caller holds the write lock and commits.
    """
    _drop(connection)
    make_flag(connection)
    connection.execute(f"CREATE TABLE {_FENCE} (until)")
    until = _NEVER if seconds is None else "julianday('now') + ? / 86400.0"
    connection.execute(f"INSERT INTO {_FENCE} VALUES ({until})", () if seconds is None else (seconds,))
    said = label.replace("'", "''")
    for number, table in enumerate(fenced_tables(connection)):
        for event in EVENTS:
            connection.execute(
                f"CREATE TRIGGER {_FENCE}_{event}_{number} BEFORE {event} ON {quote(table)} "
                f"WHEN EXISTS ({_STANDS}) AND NOT EXISTS ({APPLYING}) BEGIN SELECT RAISE(ABORT, '{said}'); END"
            )


def make_flag(connection: sqlite3.Connection) -> None:
    """Make the table that capture and fence look into, where it is not there yet."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {APPLIER} (applying)")


def take_down(connection: sqlite3.Connection) -> None:
    """Remove the fence. The caller holds the write lock and commits."""
    _drop(connection)
    if not [name for kind, name in schema.ours(connection, schema.LASTING) if (kind, name) != ("table", APPLIER)]:
        connection.execute(f"DROP TABLE IF EXISTS {APPLIER}")


def stands(connection: sqlite3.Connection) -> bool:
    """Whether a fence refuses writes now."""
    if ("table", _FENCE) not in schema.ours(connection, _FENCE):
        return False
    return connection.execute(_STANDS).fetchone() is not None


def _drop(connection: sqlite3.Connection) -> None:
    for kind, name in schema.ours(connection, _FENCE):
        connection.execute(f"DROP {kind} {quote(name)}")
