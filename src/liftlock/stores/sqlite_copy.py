"""A consistent copy of a SQLite file while others write, without holding them up.

MLflow's databases are in rollback-journal mode unless somebody changed that: a reader blocks every commit for as
long as it reads, and the server fails a request after waiting 20 s. So, in this order:

1. Where the file system can clone files (btrfs, XFS), clone the file while holding the write lock: a millisecond.
2. With a write-ahead log readers block nobody: one read transaction, SQLite's backup API.
3. Otherwise the backup API in short steps, each a read lock of a few milliseconds. SQLite starts again by itself
   when another process commits in between, so this ends on a database that is quiet for a moment. A database that
   fits into one step always gets through.
4. After two new starts: `sqlite_dirty`, which lets writers go on and copies what they changed until nothing is left.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, Progress, silent
from liftlock.stores.sqlite_connection import connect, reading, writing
from liftlock.stores.sqlite_dirty import copy_dirty, remove_leftovers

STEP_SECONDS = 0.02
_FIRST_STEP_BYTES = 1 << 20
_RESTARTS = 2
_BUSY_PAUSE = 0.002
FICLONE = 0x40049409


@dataclass(frozen=True)
class Copied:
    """How a copy was made: `clone`, `log`, `steps` or `dirty`, and the longest time we held a lock, in seconds."""

    how: str
    longest_block_seconds: float


class _Restarted(Exception):
    """Another process wrote while pages were copied."""


class _Watch:
    """Follows one run of the backup API: lengths of steps, new starts, speed."""

    def __init__(self, observer: Observer, page_size: int) -> None:
        self.observer = observer
        self.page_size = page_size
        self.longest = 0.0
        self.copied = 0
        self.busy_since: float | None = None
        self._remaining: int | None = None
        self._at = clock.monotonic()
        self.spent = 0.0

    def __call__(self, status: int, remaining: int, total: int) -> None:
        now = clock.monotonic()
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self.busy_since = self.busy_since or now
            if now - self.busy_since > 60:
                raise StoreError(
                    "the database stayed locked for a minute", hint="Stop whoever holds it.", retryable=True
                )
            self._at = now + _BUSY_PAUSE
            return
        self.busy_since = None
        self.longest = max(self.longest, now - self._at)
        self.spent += max(0.0, now - self._at)
        if self._remaining is not None and remaining >= self._remaining:
            raise _Restarted
        self.copied += (total if self._remaining is None else self._remaining) - remaining
        self._remaining = remaining
        self.observer(
            Progress(work="copy", done=(total - remaining) * self.page_size, total=total * self.page_size, unit="bytes")
        )
        self._at = clock.monotonic()


def copy_database(source: Path, target: Path, *, observer: Observer = silent, may_write: bool = True) -> Copied:
    """Copy a live database to a file that does not exist yet, as one committed state of it.

    With `may_write` false nothing is ever written into the source (no capture triggers): then a database that is
    written all the time gives a retryable StoreError. The target is not flushed to disk.
    """
    target.touch(mode=0o600, exist_ok=False)
    if may_write and os.access(source, os.W_OK):
        remove_leftovers(source)
    with reading(source) as connection:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
        with closing(unsafe_target(target)) as copy:
            if mode == "wal":
                return Copied("log", _in_one_transaction(connection, copy, observer))
    if may_write and (held := _cloned(source, target)) is not None:
        return Copied("clone", held)
    with reading(source) as connection, closing(unsafe_target(target)) as copy:
        longest = copy_in_steps(connection, copy, observer, tries=_RESTARTS if may_write else 10 * _RESTARTS)
    if longest is not None:
        return Copied("steps", longest)
    if not may_write:
        raise StoreError(
            f"{source} is written all the time and cannot be read at one moment",
            hint="Try again when it is quieter, or stop the server.",
            retryable=True,
        )
    target.unlink()
    target.touch(mode=0o600, exist_ok=False)
    return Copied("dirty", copy_dirty(source, target, observer=observer))


def unsafe_target(target: Path) -> sqlite3.Connection:
    """A connection for filling a new file: no journal and no flushing, because a half-made copy is thrown away."""
    connection = connect(target, mode="rw")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    return connection


def _in_one_transaction(connection: sqlite3.Connection, copy: sqlite3.Connection, observer: Observer) -> float:
    connection.backup(copy, pages=-1, progress=_Watch(observer, 1))
    return 0.0  # a reader of a write-ahead log blocks nobody


def copy_in_steps(
    connection: sqlite3.Connection, copy: sqlite3.Connection, observer: Observer, *, tries: int
) -> float | None:
    """Stage 3. The longest step in seconds, or None when others wrote during every try."""
    (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    connection.execute("PRAGMA busy_timeout = 0")
    pages = max(1, _FIRST_STEP_BYTES // page_size)
    longest = 0.0
    for _ in range(tries + 1):
        watch = _Watch(observer, page_size)
        try:
            connection.backup(copy, pages=pages, progress=watch, sleep=_BUSY_PAUSE)
        except _Restarted:
            longest = max(longest, watch.longest)
            # As large a step as is still short, judged by the speed just seen: fewer gaps for others to write in.
            pages = max(1, int(watch.copied / max(watch.spent, 1e-6) * STEP_SECONDS * 0.8))
            continue
        return max(longest, watch.longest)
    return None


def _cloned(source: Path, target: Path) -> float | None:
    """Stage 1: seconds the write lock was held, or None where the file system does not clone.

    The lock (RESERVED) keeps writers out of the file. The source's descriptor is opened only when cloning works and
    closed only after the transaction: closing any descriptor of a file drops all of this process's locks on it.
    """
    if source.stat().st_dev != target.stat().st_dev or not _can_clone(target):
        return None
    with target.open("wb") as new, source.open("rb") as old, writing(source) as connection:
        connection.execute("BEGIN IMMEDIATE")
        started = clock.monotonic()
        fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        connection.execute("ROLLBACK")
        return clock.monotonic() - started


def _can_clone(target: Path) -> bool:
    """Whether the file system clones files, tried with an empty file of our own."""
    with target.open("rb") as old, tempfile.TemporaryFile(dir=target.parent) as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:
            return False
        return True
