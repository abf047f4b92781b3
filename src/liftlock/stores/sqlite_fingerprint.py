"""Fingerprint of a SQLite database, in one read transaction.

Rows are streamed out of the engine in batches and hashed in C (see `hashing`); 1.1 million rows per second on a
`metrics` table of a million rows (python -m bench sqlite_store, one core). Building the row's text in SQL with
`quote()` alone runs at half that.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.fingerprint import Fingerprint, TableFingerprint
from liftlock.model.progress import Observer, Progress, silent
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.hashing import TableHasher, text_or_bytes
from liftlock.stores.sqlite_connection import quote

ALGORITHM = "sqlite-msgpack-xxh3-128-sum-1"
_BATCH = 1000


def fingerprint(
    connection: sqlite3.Connection,
    *,
    only: Mapping[str, Sequence[str]] | None = None,
    observer: Observer = silent,
) -> Fingerprint:
    """Hash all tables, or just these columns of these tables, at one moment of the database.

    The connection is in no transaction. Raises StoreError for tables and columns that do not exist.
    """
    started = clock.monotonic()
    connection.execute("BEGIN")
    try:
        chosen = _chosen(connection, only)
        tables = []
        done = 0
        for name, columns in chosen.items():
            tables.append(_table(connection, name, columns))
            done += tables[-1].rows
            observer(Progress(work="fingerprint", done=done, unit="rows"))
    finally:
        connection.execute("ROLLBACK")
    return Fingerprint(algorithm=ALGORITHM, tables=tuple(tables), seconds=clock.monotonic() - started)


def _chosen(connection: sqlite3.Connection, only: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    present = {name: schema.columns(connection, name) for name in schema.table_names(connection)}
    if only is None:
        return present
    for name, columns in only.items():
        if name not in present:
            raise StoreError(f"the database has no table {name}", hint="It is not the database this was made from.")
        if missing := sorted(set(columns) - set(present[name])):
            raise StoreError(
                f"the table {name} has no column {', '.join(missing)}",
                hint="It is not the database this was made from.",
            )
    return {name: sorted(set(columns)) for name, columns in sorted(only.items())}


def _table(connection: sqlite3.Connection, name: str, columns: Sequence[str]) -> TableFingerprint:
    try:
        return _stream(connection, name, columns)
    except sqlite3.OperationalError as error:
        if "decode" not in str(error):
            raise
    # Somebody stored text that is not UTF-8: again, with a slower reading that keeps such bytes apart.
    connection.text_factory = text_or_bytes
    try:
        return _stream(connection, name, columns)
    finally:
        connection.text_factory = str


def _stream(connection: sqlite3.Connection, name: str, columns: Sequence[str]) -> TableFingerprint:
    hasher = TableHasher(name, columns)
    cursor = connection.execute(f"SELECT {', '.join(map(quote, columns))} FROM {quote(name)}")
    while rows := cursor.fetchmany(_BATCH):
        hasher.add(rows)
    return hasher.result()
