"""The log of an online upgrade inside a SQLite database: put in place, read in numbers, forgotten in ranges.

SQLite has one writer at a time, so numbers of log entries grow in the order of commits, and a range of numbers that
was read is an exact set: no entry can come into it later, because the highest number is never forgotten (`forget`)
and none is given out twice.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Collection

from liftlock.errors import StoreError
from liftlock.stores import sqlite_fence as fence
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.live import Key, Shape
from liftlock.stores.sqlite_capture import KeyLog
from liftlock.stores.sqlite_connection import quote
from liftlock.stores.sqlite_shapes import shapes
from liftlock.stores.sqlite_view import Token

_CAPTURE = f"{schema.LASTING}capture_"
LOG = f"{_CAPTURE}log"
_MADE_FOR = f"{_CAPTURE}made_for"


def put_in_place(connection: sqlite3.Connection) -> None:
    """Make the log and its triggers anew, unless they are complete. The caller holds the write lock and commits."""
    if complete(connection):
        return
    drop(connection, _CAPTURE)
    tables = [schema.table(connection, name) for name in shapes(connection)]
    fence.make_flag(connection)
    for statement in KeyLog(LOG, _CAPTURE, unless=f"EXISTS ({fence.APPLYING})").statements(connection, tables):
        connection.execute(statement)
    connection.execute(f"CREATE TABLE {_MADE_FOR} (digest)")
    connection.execute(f"INSERT INTO {_MADE_FOR} VALUES (?)", (digest(connection),))


def complete(connection: sqlite3.Connection) -> bool:
    """Whether all of it is in place, and the schema is the one it was made for."""
    if ("table", _MADE_FOR) not in schema.ours(connection, _CAPTURE):
        return False
    (made_for,) = connection.execute(f"SELECT digest FROM {_MADE_FOR}").fetchone()
    return bool(made_for == digest(connection))


def require(connection: sqlite3.Connection) -> None:
    """Raises StoreError where the capture is not complete."""
    if not complete(connection):
        raise StoreError(
            "the database is not captured, or its schema is no longer the one that was captured",
            hint="Somebody changed the schema, or the upgrade was aborted. Start it again.",
        )


def exists(connection: sqlite3.Connection) -> bool:
    """Whether there is a log."""
    return ("table", LOG) in schema.ours(connection, _CAPTURE)


def length(connection: sqlite3.Connection) -> int:
    """Entries not forgotten, and gaps between them that `forget_of` left: nothing is counted, which would keep writers
    waiting.
    """
    if not exists(connection) or (token := oldest(connection, None)) is None:
        return 0
    return token[1] - token[0] + 1


def oldest(connection: sqlite3.Connection, limit: int | None) -> Token:
    """The first and the last number of the oldest `limit` entries; None where there are none."""
    (low,) = connection.execute(f"SELECT min(id) FROM {LOG} WHERE t IS NOT NULL").fetchone()
    if low is None:
        return None
    (high,) = connection.execute(f"SELECT max(id) FROM {LOG}").fetchone()
    return (low, high if limit is None else min(high, low + limit - 1))


def next_of(connection: sqlite3.Connection, names: Collection[str], least: int) -> int | None:
    """The first entry of these tables whose number is not below `least`."""
    marks = ", ".join("?" * len(names))
    row = connection.execute(f"SELECT min(id) FROM {LOG} WHERE id >= ? AND t IN ({marks})", (least, *names)).fetchone()
    return None if row[0] is None else int(row[0])


def highest(connection: sqlite3.Connection) -> int:
    """The last number that was given out."""
    return int(connection.execute(f"SELECT max(id) FROM {LOG}").fetchone()[0])


def tables(connection: sqlite3.Connection, token: tuple[int, int]) -> set[str]:
    """The tables that these entries are about."""
    logged = connection.execute(f"SELECT DISTINCT t FROM {LOG} WHERE id BETWEEN ? AND ? AND t IS NOT NULL", token)
    return {name for (name,) in logged}


def keys(connection: sqlite3.Connection, token: Token, known: dict[str, Shape]) -> dict[str, frozenset[Key]]:
    """Table -> the keys of these entries. A table that is not known was dropped since."""
    if token is None:
        return {}
    found = {}
    for name in known.keys() & tables(connection, token):
        key = ", ".join(f"k{n}" for n in range(len(known[name].key)))
        sql = f"SELECT {key} FROM {LOG} WHERE id BETWEEN ? AND ? AND t = ?"
        found[name] = frozenset(connection.execute(sql, (*token, name)))
    return found


def forget(connection: sqlite3.Connection, token: tuple[int, int]) -> None:
    """Delete exactly these entries; the highest one stays, blank, and SQLite counts on from it."""
    low, high = token
    last = highest(connection)
    connection.execute(f"DELETE FROM {LOG} WHERE id <= ? AND id < ? AND (id >= ? OR t IS NULL)", (high, last, low))
    if high == last:
        _blank(connection, high)


def forget_of(connection: sqlite3.Connection, token: tuple[int, int], names: Collection[str]) -> None:
    """As `forget`, but only the entries of these tables."""
    low, high = token
    last = highest(connection)
    about = f"t IN ({', '.join('?' * len(names))})"
    connection.execute(f"DELETE FROM {LOG} WHERE id BETWEEN ? AND ? AND id < ? AND {about}", (low, high, last, *names))
    if high == last and connection.execute(f"SELECT {about} FROM {LOG} WHERE id = ?", (*names, high)).fetchone()[0]:
        _blank(connection, high)


def _blank(connection: sqlite3.Connection, entry: int) -> None:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({LOG})").fetchall() if row[1] != "id"]
    blank = ", ".join(f"{quote(name)} = NULL" for name in names)
    connection.execute(f"UPDATE {LOG} SET {blank} WHERE id = ?", (entry,))


def digest(connection: sqlite3.Connection) -> str:
    """Of all definitions that are not ours, and of the capture itself: rebuilding a table drops its triggers."""
    found = connection.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
    )
    kept = [row for row in found if not schema.is_ours(row[1]) or row[1].startswith(_CAPTURE)]
    return hashlib.sha256(json.dumps(kept).encode()).hexdigest()


def drop(connection: sqlite3.Connection, prefix: str = schema.LASTING) -> None:
    """Remove what of ours begins with `prefix`. The caller holds the write lock and commits."""
    for kind, name in schema.ours(connection, prefix):
        connection.execute(f"DROP {kind} {quote(name)}")
