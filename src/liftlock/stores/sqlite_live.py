"""SQLite under an online upgrade. See `stores.live.Live` for what each method promises.

Everything of ours is made and removed in one transaction each, so that a killed call leaves all of it or nothing.
SQLite has one writer at a time: whoever holds the write lock knows that nobody else is in a transaction that wrote
(I1).

Closing any descriptor of a file drops all locks this process holds on it (POSIX): while `copy_to` runs, no other
connection of the same process may be in a transaction on this database.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, silent
from liftlock.stores import sqlite_fence as fence
from liftlock.stores import sqlite_log as log
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.interface import Store
from liftlock.stores.live import Live, Moved, Shape, Straight
from liftlock.stores.sqlite_connection import BUSY_SECONDS, connect, errors, open_for_reading, quote
from liftlock.stores.sqlite_copy import copy_database
from liftlock.stores.sqlite_shapes import shapes
from liftlock.stores.sqlite_transfer import Arrivals, Pace, possible
from liftlock.stores.sqlite_view import SqliteTarget, SqliteView, Token

_TRY_SECONDS = 0.9
_CACHE_KIB = 128 << 10  # what does not fit is written before the commit, and read again
_T = TypeVar("_T")


class _Wrong(Exception):
    """What was written is not what is there."""


class SqliteLive:
    """One SQLite file that others write to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._path: Path = store.uri.path.resolve()
        self._known: tuple[str, dict[str, Shape]] = ("", {})
        self._local = threading.local()
        self._pace = Pace()

    def obstacles(self, *, applying: bool) -> tuple[str, ...]:
        """Why capture or applying cannot work here, one sentence each."""
        found = []
        for place in (self._path, self._path.parent):
            if not os.access(place, os.W_OK):
                found.append(f"{place} cannot be written: run liftlock as the user that runs the tracking server.")
        with self._reading() as connection, errors(self._path):
            if schema.has_virtual_tables(connection):
                found.append("the database has virtual tables: drop them, or use the standard upgrade.")
            for name, shape in shapes(connection).items():
                if not shape.key:
                    found.append(f"{name} has no primary key without NULL: give it one, or use the standard upgrade.")
                elif not applying and any(index.expression for index in schema.unique_indexes(connection, name)):
                    found.append(f"{name} has a unique index on an expression: drop it, or use the standard upgrade.")
        return tuple(found)

    def shapes(self) -> dict[str, Shape]:
        """All tables but Alembic's version tables, SQLite's and liftlock's."""
        with self._reading() as connection, errors(self._path):
            return self._shapes(connection)

    def capture(self, *, patience: float = 20.0) -> None:
        """Put capture triggers on all tables; the write lock shows that no writer is from before them."""
        if problems := self.obstacles(applying=False):
            raise StoreError(f"changes cannot be captured: {problems[0]}", hint="Nothing was changed.")
        if not self.captured():
            self._change("capture writes", log.put_in_place, patience=patience)

    def captured(self) -> bool:
        """Whether a complete capture is in place and the schema is still the one it was made for."""
        with self._reading() as connection, errors(self._path):
            return log.complete(connection)

    def backlog(self) -> int:
        """Log entries not consumed yet."""
        with self._reading() as connection, errors(self._path):
            return log.length(connection)

    @contextmanager
    def changes(self, limit: int | None = None) -> Iterator[SqliteView]:
        """One view of the oldest `limit` log entries and the rows. Writers cannot commit while it is open."""
        with self._reading() as connection:
            with errors(self._path):
                view = self._captured_view(connection, limit)
            yield view

    @contextmanager
    def look(self) -> Iterator[SqliteView]:
        """One view of the rows and of all keys that are logged."""
        with self._reading() as connection:
            with errors(self._path):
                view = self._view(connection, None)
            yield view

    def consume(self, token: Token) -> None:
        """Delete exactly the log entries behind a view."""
        if token is not None:
            self._change("forget captured writes", lambda connection: log.forget(connection, token))

    def transfer(self, sink: Live, tables: Sequence[Straight], *, view: float, seconds: float) -> Moved:
        """Changed rows by sets, through a database in memory."""
        assert isinstance(sink, SqliteLive)
        with sink._reading() as connection, errors(sink._path):
            known = sink._shapes(connection)
            arrivals = Arrivals([table for table in tables if possible(connection, table, known)])
        with errors(self._path), closing(open_for_reading(self._path)) as connection:
            arrivals.attach(connection)
            arrivals.collect(connection, self._pace, view=view, seconds=seconds)
            if (entries := arrivals.range) is None:
                return Moved()
            try:
                with sink._replacing("transfer rows", arrivals) as target, errors(sink._path):
                    keys, wrong = arrivals.replace(target.connection, known)
                    if wrong:
                        raise _Wrong
            except _Wrong:
                return Moved(viewed=arrivals.viewed, wrong=wrong)
        self._change("forget captured writes", lambda connection: log.forget_of(connection, entries, arrivals.tables))
        return Moved(keys=keys, viewed=arrivals.viewed)

    @contextmanager
    def fence(self, label: str, *, seconds: float, patience: float) -> Iterator[SqliteView]:
        """Keep everybody out, in the transaction that also reads what is left in the log."""
        with self._writing("fence writes", patience) as connection:
            with errors(self._path):
                view = self._captured_view(connection, None)
                fence.put_up(connection, label, seconds)
            yield view
            with errors(self._path):
                if not fence.stands(connection):
                    raise StoreError(
                        f"the fence would have stood for {seconds:g} s, and the work behind it took longer",
                        hint="Nothing was changed; try again when the log is shorter.",
                        retryable=True,
                    )

    def fence_for_good(self, label: str) -> None:
        """Let the fence stand until `unfence`."""
        self._change("fence writes for good", lambda connection: fence.put_up(connection, label, None))

    def unfence(self) -> None:
        """Take the fence away."""
        if self._ours():
            self._change("lift fence", fence.take_down)

    def fenced(self) -> bool:
        """Whether a fence stands now."""
        with self._reading() as connection, errors(self._path):
            return fence.stands(connection)

    @contextmanager
    def applying(self) -> Iterator[SqliteTarget]:
        """A transaction for applying, which no trigger acts in and no foreign key is enforced in."""
        with self._replacing("apply rows") as target:
            yield target

    @contextmanager
    def _replacing(self, effect: str, arrivals: Arrivals | None = None) -> Iterator[SqliteTarget]:
        with self._writing(effect, BUSY_SECONDS, arrivals) as connection:
            with errors(self._path):
                flagged = ("table", fence.APPLIER) in schema.ours(connection, schema.LASTING)
                if flagged:
                    connection.execute(f"INSERT INTO {fence.APPLIER} VALUES (1)")
                # SQLite has no other way to keep triggers from acting that all supported Pythons offer.
                silenced = [row for row in schema.definitions(connection) if row[0] == "trigger"]
                for _, name, _, _ in silenced:
                    connection.execute(f"DROP TRIGGER {quote(name)}")
                target = SqliteTarget(self._path, connection, self._shapes(connection))
            yield target
            if target.lost:
                raise StoreError("rows were refused, so nothing was applied", hint="Nothing was changed.")
            with errors(self._path):
                for _, _, _, sql in silenced:
                    connection.execute(sql)
                if flagged:
                    connection.execute(f"DELETE FROM {fence.APPLIER}")

    def copy_to(self, target: Store, *, observer: Observer = silent) -> None:
        """Fill `target` with a consistent copy without anything of ours; `sqlite_copy` says how writers go on."""
        path = target.uri.path.resolve()
        with errors(path), side_effect("copy live database"):
            copy_database(self._path, path, observer=observer)

    def sequences(self) -> dict[str, int]:
        """Tables with AUTOINCREMENT -> the highest number given out."""
        with self._reading() as connection, errors(self._path):
            counting = _counting(connection)
            if not counting:
                return {}
            known = dict(connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return {name: int(known.get(name) or 0) for name in counting}

    def advance(self, values: Mapping[str, int]) -> None:
        """Move the counters that exist here to at least these values."""

        def work(connection: sqlite3.Connection) -> None:
            for name in _counting(connection) & values.keys():
                given = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = ?", (name,)).fetchone()
                if (given[0] or 0) < values[name]:
                    connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (name,))
                    connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (name, values[name]))

        self._change("advance counters", work)

    def release(self) -> None:
        """Remove capture, log and fence."""
        if self._ours():
            self._change("release capture", log.drop)

    def _ours(self) -> list[tuple[str, str]]:
        with self._reading() as connection, errors(self._path):
            return schema.ours(connection, schema.LASTING)

    def _captured_view(self, connection: sqlite3.Connection, limit: int | None) -> SqliteView:
        log.require(connection)
        return self._view(connection, limit)

    def _view(self, connection: sqlite3.Connection, limit: int | None) -> SqliteView:
        found = self._shapes(connection)
        token = log.oldest(connection, limit) if log.exists(connection) else None
        return SqliteView(self._path, connection, found, log.keys(connection, token, found), token)

    def _shapes(self, connection: sqlite3.Connection) -> dict[str, Shape]:
        """Read once for each schema: it takes tens of milliseconds, and writers would wait."""
        digest = log.digest(connection)
        if self._known[0] != digest:
            self._known = (digest, shapes(connection))
        return self._known[1]

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in a read transaction. Only what is in `errors` is SQLite's; the caller's errors pass.

        Inside another one of this thread it is the same: a second one would wait for a writer that waits for the first.
        """
        outer: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if outer is not None:
            yield outer
            return
        with errors(self._path):
            connection = open_for_reading(self._path)
        with closing(connection):
            with errors(self._path):
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            self._local.connection = connection
            try:
                yield connection
            finally:
                self._local.connection = None

    @contextmanager
    def _writing(self, effect: str, patience: float, arrivals: Arrivals | None = None) -> Iterator[sqlite3.Connection]:
        """A connection that holds the write lock, without foreign keys; committed at the end, or rolled back."""
        with errors(self._path):
            connection = connect(self._path, mode="rw", timeout=patience)
        with closing(connection):
            with errors(self._path):
                connection.execute("PRAGMA foreign_keys = OFF")
                connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
                connection.execute("PRAGMA temp_store = MEMORY")
                if arrivals is not None:
                    arrivals.attach(connection)
                connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                with side_effect(effect), errors(self._path):
                    connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def _change(self, effect: str, work: Callable[[sqlite3.Connection], _T], *, patience: float = BUSY_SECONDS) -> _T:
        """Run `work` in a transaction, in short tries: who waits for readers in order to commit keeps new ones out."""
        deadline = clock.monotonic() + patience
        while True:
            left = deadline - clock.monotonic()
            try:
                with self._writing(effect, max(0.0, min(_TRY_SECONDS, left))) as connection, errors(self._path):
                    return work(connection)
            except StoreError as error:
                if not error.retryable or left <= _TRY_SECONDS:
                    raise


def _counting(connection: sqlite3.Connection) -> set[str]:
    found = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL")
    return {name for name, sql in found if re.search(r"\bAUTOINCREMENT\b", sql, re.IGNORECASE)}
