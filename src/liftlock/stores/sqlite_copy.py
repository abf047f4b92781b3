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
from dataclasses import dataclass, replace
from pathlib import Path

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, Progress, silent
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.sink import ALIGNMENT, Sink, settle
from liftlock.stores.sqlite_connection import connect, quote, reading, writing
from liftlock.stores.sqlite_dirty import copy_dirty, remove_leftovers

STEP_SECONDS = 0.02
FIRST_PIECE = 1 << 20
LARGEST_PIECE = 1 << 23
_TRIES = 3
_PATIENT_TRIES = 20
FICLONE = 0x40049409


@dataclass(frozen=True)
class Copied:
    """How a copy was made: `clone`, `log`, `steps` or `dirty`, and the longest time we held a lock, in seconds.

    `sha256` is that of the copy, "" where it was not kept.
    """

    how: str
    longest_block_seconds: float
    sha256: str = ""


def copy_database(source: Path, target: Path, *, observer: Observer = silent, keep: bool = True) -> Copied:
    """Copy a live database to a file that does not exist yet, as one committed state of it, hashed and flushed.

    Without `keep` the copy is a passing one: neither hashed nor flushed, and nothing is ever written into the source
    for it (no capture triggers). Then a database that is written all the time gives a retryable StoreError.
    """
    target.touch(mode=0o600, exist_ok=False)
    copied = _copied(source, target, observer, keep=keep)
    if keep and (_cleaned(target) or not copied.sha256):
        return replace(copied, sha256=settle(target))
    return copied


def _cleaned(target: Path) -> bool:
    """Whether there was something of an online upgrade in the copy; it stays in the source only."""
    with reading(target, immutable=True) as connection:  # nobody else has it, and no file may stay beside it
        if not schema.ours(connection):
            return False
    with writing(target) as connection:
        connection.execute("BEGIN")
        for kind, name in schema.ours(connection):
            connection.execute(f"DROP {kind} {quote(name)}")
        connection.execute("COMMIT")
    return True


def _copied(source: Path, target: Path, observer: Observer, *, keep: bool) -> Copied:
    if keep and os.access(source, os.W_OK):
        remove_leftovers(source)
    with reading(source) as connection:
        if _mode(connection) == "wal":
            with closing(connect(target, mode="rw")) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                connection.backup(copy)
            return Copied("log", 0.0)
    if keep and (held := _cloned(source, target)) is not None:
        return Copied("clone", held)
    with Sink(target, LARGEST_PIECE, keep=keep) as sink:
        longest = copy_in_steps(source, sink, tries=_TRIES if keep else _PATIENT_TRIES, observer=observer)
        if longest is not None:
            return Copied("steps", longest, sink.finish())
    if not keep:
        raise StoreError(
            f"{source} is written all the time and cannot be read at one moment",
            hint="Try again when it is quieter, or stop the server.",
            retryable=True,
        )
    target.write_bytes(b"")
    return Copied("dirty", copy_dirty(source, target, observer=observer))


def _mode(connection: sqlite3.Connection) -> str:
    return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def copy_in_steps(source: Path, sink: Sink, *, tries: int, observer: Observer = silent) -> float | None:
    """Stage 3. The longest read lock in seconds; None when others wrote during every try."""
    piece = FIRST_PIECE
    longest = 0.0
    with source.open("rb") as file, reading(source) as connection:
        for _ in range(tries):
            if _mode(connection) == "wal":  # somebody changed it just now
                return None
            sink.restart()
            size, version = None, None
            while size is None or sink.bytes < size:
                sink.wait()  # for the disk, before anybody has to wait for us
                connection.execute("BEGIN")
                connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
                started = clock.monotonic()
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if version not in (None, now):
                    connection.execute("ROLLBACK")
                    break
                version, size = now, os.fstat(file.fileno()).st_size
                sink.take(file.fileno(), min(piece, size - sink.bytes))
                connection.execute("ROLLBACK")
                spent = clock.monotonic() - started
                longest = max(longest, spent)
                # As large a piece as is still short: fewer gaps for others to write in.
                wanted = int(piece * min(2.0, STEP_SECONDS / 2 / max(spent, 1e-6)))
                piece = max(FIRST_PIECE, min(LARGEST_PIECE, wanted // ALIGNMENT * ALIGNMENT))
                observer(Progress(work="copy", done=sink.bytes, total=size, unit="bytes"))
            else:
                return longest
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
