"""Copy a SQLite database that is written all the time, by following what changes.

Triggers log the key of every row that is inserted, updated (the key before and the key after) or deleted. Then all
tables are copied in key order, in short reads. Then, again and again: log and rows are read in one transaction,
the rows of those keys are replaced in the copy by what the database holds now, and exactly those log entries are
deleted. Order, repetition and the moment at which a row was copied do not matter, because only the current state is
ever applied. The last round runs while we hold the write lock, so the copy then equals the database; triggers and
log are dropped in that same transaction.

Rows are named by primary key, never by rowid: VACUUM and REPLACE hand out new ones. Tables without a primary key
(or with one that may be NULL) are copied whole in the last round. A stale row in the copy can collide with a newer
one in a UNIQUE column: the newer wins (OR REPLACE), and the stale one has its own log entry still to come.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, Progress, silent
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.sqlite_capture import KeyLog
from liftlock.stores.sqlite_connection import connect, quote, writing

STEP_SECONDS = 0.02
LOG = f"{schema.OURS}dirty"
FIRST_CHUNK = 200
LARGEST_CHUNK = 20_000
FEW = 50
_ROUNDS = 2000
_PRAGMAS = ("page_size", "encoding", "auto_vacuum", "user_version", "application_id")


def copy_dirty(source: Path, target: Path, *, observer: Observer = silent) -> float:
    """Fill the empty file `target`; the longest time a lock was held on the source, in seconds.

    Raises StoreError (retryable) where the schema changes meanwhile or writers outrun us; nothing of ours stays in
    the source then.
    """
    with writing(source) as live, closing(connect(target, mode="rw")) as copy:
        work = DirtyCopy(live, copy, observer)
        try:
            work.run()
        except BaseException:
            if live.in_transaction:
                live.execute("ROLLBACK")
            _drop_ours(live)
            raise
        return work.longest


def remove_leftovers(source: Path) -> None:
    """Drop what a killed predecessor left in the database. Writes nothing where there is nothing."""
    with writing(source) as live:
        if _leftovers(live):
            _drop_ours(live)


def _leftovers(live: sqlite3.Connection) -> list[tuple[str, str]]:
    """Triggers and tables of a copy; those of an online upgrade are none of our business."""
    return [(kind, name) for kind, name in schema.ours(live) if not name.startswith(schema.LASTING)]


def _drop_ours(live: sqlite3.Connection) -> None:
    with side_effect("stop capturing changes"):
        live.execute("BEGIN IMMEDIATE")
        _drop_statements(live)
        live.execute("COMMIT")


def _drop_statements(live: sqlite3.Connection) -> None:
    for kind, name in _leftovers(live):
        live.execute(f"DROP {kind} {quote(name)}")


class DirtyCopy:
    """One copy by dirty set, from a live connection into an empty one."""

    def __init__(self, live: sqlite3.Connection, copy: sqlite3.Connection, observer: Observer) -> None:
        self._live = live
        self._copy = copy
        self._observer = observer
        self._chunk = FIRST_CHUNK
        self._done = 0
        self.longest = 0.0

    def run(self) -> None:
        """Capture, copy, converge."""
        self._start()
        for table in self._keyed:
            self._copy_in_key_order(table)
        self._create("index", unique=False)
        self._converge()
        self._finish_copy()

    def _start(self) -> None:
        with side_effect("capture changes"), self._held("BEGIN IMMEDIATE"):
            _drop_statements(self._live)
            if schema.has_virtual_tables(self._live):
                raise StoreError(
                    "the database has virtual tables and is being written",
                    hint="Stop the server, then try again: a quiet database can be copied.",
                    retryable=True,
                )
            names = schema.table_names(self._live)
            self._sequence = "sqlite_sequence" in names
            self._tables = [schema.table(self._live, name) for name in names if name != "sqlite_sequence"]
            self._keyed = [table for table in self._tables if table.key]
            self._keyless = [table for table in self._tables if not table.key]
            self._definitions = schema.definitions(self._live)
            self._unique = {
                row[1]
                for table in self._tables
                for row in self._live.execute(f"PRAGMA index_list({quote(table.name)})")
                if row[2]
            }
            self._settings = {name: self._live.execute(f"PRAGMA {name}").fetchone()[0] for name in _PRAGMAS}
            for statement in KeyLog(LOG, schema.OURS).statements(self._live, self._keyed):
                self._live.execute(statement)
            (self._schema_version,) = self._live.execute("PRAGMA schema_version").fetchone()
            self._live.execute("COMMIT")
        self._prepare_copy()

    def _prepare_copy(self) -> None:
        self._copy.execute("PRAGMA foreign_keys = OFF")
        self._copy.execute("PRAGMA synchronous = OFF")
        for name, value in self._settings.items():
            self._copy.execute(f"PRAGMA {name} = {value!r}")
        self._copy.execute("PRAGMA journal_mode = OFF")
        self._create("table")
        self._create("index", unique=True)

    def _create(self, kind: str, *, unique: bool = False) -> None:
        for found, name, _, sql in self._definitions:
            if found == kind and (kind != "index" or (name in self._unique) == unique):
                self._copy.execute(sql)

    @contextmanager
    def _held(self, begin: str) -> Iterator[None]:
        """A transaction on the source (the block ends it), and how long it held its lock."""
        self._live.execute(begin)
        started = clock.monotonic()
        yield
        self.longest = max(self.longest, clock.monotonic() - started)

    def _timed(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        started = clock.monotonic()
        rows = self._live.execute(sql, parameters).fetchall()
        spent = clock.monotonic() - started
        self.longest = max(self.longest, spent)
        self._adapt(spent)
        return rows

    def _adapt(self, spent: float) -> None:
        # Towards reads of half the allowed length: the next part of the table may be slower.
        factor = STEP_SECONDS / 2 / max(spent, 1e-6)
        self._chunk = min(LARGEST_CHUNK, max(10, int(self._chunk * min(2.0, max(0.25, factor)))))

    def _copy_in_key_order(self, table: schema.Table) -> None:
        key = ", ".join(map(quote, table.key))
        position = [table.stored.index(name) for name in table.key]
        select = f"SELECT {', '.join(map(quote, table.stored))} FROM {quote(table.name)}"
        after = f"WHERE ({key}) > ({', '.join('?' * len(table.key))})"
        last: list[Any] | None = None
        while True:
            where, parameters = (after, last) if last is not None else ("", [])
            rows = self._timed(f"{select} {where} ORDER BY {key} LIMIT ?", [*parameters, self._chunk])
            if not rows:
                return
            self._insert(table, rows)
            last = [rows[-1][index] for index in position]
            self._done += len(rows)
            self._observer(Progress(work="copy", done=self._done, unit="rows"))

    def _insert(self, table: schema.Table, rows: Sequence[Sequence[Any]]) -> None:
        names = ", ".join(map(quote, table.stored))
        marks = ", ".join("?" * len(table.stored))
        self._copy.execute("BEGIN")
        self._copy.executemany(f"INSERT OR REPLACE INTO {quote(table.name)} ({names}) VALUES ({marks})", rows)
        self._copy.execute("COMMIT")

    def _converge(self) -> None:
        self._chunk = FIRST_CHUNK  # single rows by key cost more than rows in a row
        for _ in range(_ROUNDS):
            with self._held("BEGIN"):
                started = clock.monotonic()
                changed = self._read_changes(limit=self._chunk)
                self._live.execute("ROLLBACK")
            self._adapt(clock.monotonic() - started)
            self._apply(changed)
            self._observer(Progress(work="converge", done=len(changed.entries), unit="rows"))
            # Deleting waits for other writers; entries logged meanwhile are not in the set and stay.
            with self._held("BEGIN IMMEDIATE"):
                self.consume(changed.entries)
                (left,) = self._live.execute(f"SELECT count(*) FROM {LOG}").fetchone()
                if left <= FEW:
                    self._last_round()
                    return
                self._live.execute("COMMIT")
        raise StoreError(
            "the database changes faster than it can be copied", hint="Try again when it is quieter.", retryable=True
        )

    def _last_round(self) -> None:
        """With the write lock held: nobody can change anything until our COMMIT."""
        (now,) = self._live.execute("PRAGMA schema_version").fetchone()
        if now != self._schema_version:
            raise StoreError(
                "the schema changed while the database was copied", hint="Try again when it is done.", retryable=True
            )
        rest = self._read_changes(limit=-1)
        whole = [
            (
                table,
                self._live.execute(f"SELECT {', '.join(map(quote, table.stored))} FROM {quote(table.name)}").fetchall(),
            )
            for table in self._keyless
        ]
        sequence = self._live.execute("SELECT name, seq FROM sqlite_sequence").fetchall() if self._sequence else []
        _drop_statements(self._live)
        with side_effect("stop capturing changes"):
            self._live.execute("COMMIT")
        self._apply(rest)
        for table, rows in whole:
            self._insert(table, rows)
        if self._sequence:
            self._copy.execute("DELETE FROM sqlite_sequence")
            self._copy.executemany("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", sequence)

    def _read_changes(self, limit: int) -> Changes:
        """Log entries and the rows they speak of, in the transaction the caller holds."""
        entries = self.entries(limit)
        changes = Changes([entry[0] for entry in entries])
        for table in self._keyed:
            width = len(table.key)
            keys = {_typed(entry[2 : 2 + width]): entry[2 : 2 + width] for entry in entries if entry[1] == table.name}
            if not keys:
                continue
            select = f"SELECT {', '.join(map(quote, table.stored))} FROM {quote(table.name)} WHERE {_match(table)}"
            rows = [row for key in keys.values() for row in self._live.execute(select, key)]
            changes.tables.append((table, list(keys.values()), rows))
        return changes

    def _apply(self, changes: Changes) -> None:
        for table, keys, rows in changes.tables:
            # All keys go before any row comes, so that rows which swapped a unique value do not collide.
            self._copy.execute("BEGIN")
            self._copy.executemany(f"DELETE FROM {quote(table.name)} WHERE {_match(table)}", keys)
            self._copy.execute("COMMIT")
            self._insert(table, rows)

    def entries(self, limit: int) -> list[tuple[Any, ...]]:
        """Log entries: number, the table's name, key."""
        return self._live.execute(f"SELECT * FROM {LOG} ORDER BY id LIMIT ?", (limit,)).fetchall()

    def consume(self, entries: Sequence[int]) -> None:
        """Delete exactly the log entries that were applied."""
        self._live.executemany(f"DELETE FROM {LOG} WHERE id = ?", [(entry,) for entry in entries])

    def _finish_copy(self) -> None:
        self._create("view")
        self._create("trigger")


class Changes:
    """Log entries by number, and for each table the changed keys with the rows that exist under them now."""

    def __init__(self, entries: list[int]) -> None:
        self.entries = entries
        self.tables: list[tuple[schema.Table, list[tuple[Any, ...]], list[tuple[Any, ...]]]] = []


def _match(table: schema.Table) -> str:
    return " AND ".join(f"{quote(name)} IS ?" for name in table.key)


def _typed(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """A key that can be compared without 1, 1.0 and True being one."""
    return tuple((type(value), value) for value in key)
