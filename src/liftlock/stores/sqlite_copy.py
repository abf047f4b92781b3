"""A consistent copy of a SQLite file while others write, without holding them up.

MLflow's databases are in rollback-journal mode unless somebody changed that: a reader blocks every commit for as
long as it reads, and the server fails a request after waiting 20 s. So, in this order:

1. Where the file system can clone files (btrfs, XFS), clone the file while holding the write lock: a millisecond.
2. With a write-ahead log readers block nobody: one read transaction, SQLite's backup API.
3. Otherwise pieces of the file, each copied while SQLite holds a read lock for us (so the file stands still and a
   dead writer's journal was rolled back), each within a few milliseconds. `PRAGMA data_version` tells whether
   somebody committed between two pieces: then from the start again. It is what the backup API does, at the speed of
   `cp`. A database that fits into one piece always gets through.
4. After two new starts: `sqlite_dirty`, which lets writers go on and copies what they changed until nothing is left.

Closing any descriptor of a file drops all locks this process holds on it (POSIX), so while this runs no other
connection of the same process may be in a transaction on this database.
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
FIRST_PIECE = 1 << 20
LARGEST_PIECE = 1 << 25
_TRIES = 3
_PATIENT_TRIES = 20
FICLONE = 0x40049409


@dataclass(frozen=True)
class Copied:
    """How a copy was made: `clone`, `log`, `steps` or `dirty`, and the longest time we held a lock, in seconds."""

    how: str
    longest_block_seconds: float


def copy_database(source: Path, target: Path, *, observer: Observer = silent, may_write: bool = True) -> Copied:
    """Copy a live database to a file that does not exist yet, as one committed state of it.

    With `may_write` false nothing is ever written into the source (no capture triggers): then a database that is
    written all the time gives a retryable StoreError. The target is not flushed to disk.
    """
    target.touch(mode=0o600, exist_ok=False)
    if may_write and os.access(source, os.W_OK):
        remove_leftovers(source)
    with reading(source) as connection:
        if _mode(connection) == "wal":
            with closing(connect(target, mode="rw")) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                connection.backup(copy)
            return Copied("log", 0.0)
    if may_write and (held := _cloned(source, target)) is not None:
        return Copied("clone", held)
    with target.open("wb") as file:
        longest = copy_in_steps(source, file.fileno(), tries=_TRIES if may_write else _PATIENT_TRIES, observer=observer)
    if longest is not None:
        return Copied("steps", longest)
    if not may_write:
        raise StoreError(
            f"{source} is written all the time and cannot be read at one moment",
            hint="Try again when it is quieter, or stop the server.",
            retryable=True,
        )
    target.write_bytes(b"")
    return Copied("dirty", copy_dirty(source, target, observer=observer))


def _mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def copy_in_steps(source: Path, target: int, *, tries: int, observer: Observer = silent) -> float | None:
    """Stage 3, into an open file. The longest read lock in seconds; None when others wrote during every try."""
    piece = FIRST_PIECE
    longest = 0.0
    with source.open("rb") as file, reading(source) as connection:
        for _ in range(tries):
            if _mode(connection) == "wal":  # somebody changed it just now
                return None
            os.ftruncate(target, 0)
            done, size, version = 0, None, None
            while size is None or done < size:
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                started = clock.monotonic()
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if version not in (None, now):
                    connection.execute("ROLLBACK")
                    break
                version, size = now, os.fstat(file.fileno()).st_size
                _send(file.fileno(), target, done, min(piece, size - done))
                connection.execute("ROLLBACK")
                spent = clock.monotonic() - started
                longest = max(longest, spent)
                done = min(done + piece, size)
                # As large a piece as is still short: fewer gaps for others to write in.
                piece = max(FIRST_PIECE, min(LARGEST_PIECE, int(piece * min(2.0, STEP_SECONDS / 2 / max(spent, 1e-6)))))
                observer(Progress(work="copy", done=done, total=size, unit="bytes"))
            else:
                return longest
    return None


def _send(source: int, target: int, offset: int, count: int) -> None:
    os.lseek(target, offset, os.SEEK_SET)
    while count > 0:
        sent = os.sendfile(target, source, offset, count)
        if not sent:
            raise StoreError("the database file became shorter while it was read", hint="Try again.", retryable=True)
        offset += sent
        count -= sent


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
