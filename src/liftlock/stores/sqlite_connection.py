"""Connections to SQLite files, and SQLite's errors as ours: one line and a hint."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote as quote_url

from liftlock.errors import StoreCorrupt, StoreError

BUSY_SECONDS = 20.0
SIDE_SUFFIXES = ("-wal", "-shm", "-journal")
# A crashed writer left a journal that must be rolled back (or a write-ahead log without its index) first.
_NEEDS_RECOVERY = {"SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT"}


def side_files(path: Path) -> list[Path]:
    """The names SQLite may use beside a database file, whether they exist or not."""
    return [path.with_name(path.name + suffix) for suffix in SIDE_SUFFIXES]


def quote(name: str) -> str:
    """An identifier as SQL."""
    return '"' + name.replace('"', '""') + '"'


def connect(
    path: Path, *, mode: str = "ro", timeout: float = BUSY_SECONDS, immutable: bool = False
) -> sqlite3.Connection:
    """Open a database file in autocommit mode; `mode` is `ro`, `rw` or `rwc`, `timeout` seconds wait for locks.

    `immutable` promises that nobody changes the file: no locks are taken and no files appear beside it.
    """
    options = f"mode={mode}" + ("&immutable=1" if immutable else "")
    return sqlite3.connect(
        f"file:{quote_url(str(path))}?{options}",
        uri=True,
        timeout=timeout,
        isolation_level=None,
        check_same_thread=False,
    )


@contextmanager
def reading(path: Path, *, immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that cannot write. Raises StoreError and its children, also for errors of the caller's SQL.

    Where a crashed writer left a journal, the database is opened for writing once, so that SQLite rolls it back:
    every reader has to, and the next start of the server would.
    """
    with errors(path), closing(open_for_reading(path, immutable=immutable)) as connection:
        connection.execute("PRAGMA query_only = ON")
        yield connection


def open_for_reading(path: Path, *, immutable: bool = False) -> sqlite3.Connection:
    """A connection to read with, which may make temporary tables. Raises errors of sqlite3."""
    try:
        return _opened(path, "ro", immutable=immutable)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname not in _NEEDS_RECOVERY:
            raise
        return _opened(path, "rw")


def _opened(path: Path, mode: str, *, immutable: bool = False) -> sqlite3.Connection:
    connection = connect(path, mode=mode, immutable=immutable)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def writing(path: Path, *, timeout: float = BUSY_SECONDS) -> Iterator[sqlite3.Connection]:
    """A connection that may write to an existing file. Raises StoreError and its children."""
    with errors(path), closing(connect(path, mode="rw", timeout=timeout)) as connection:
        yield connection


@contextmanager
def errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors about this file into StoreError or StoreCorrupt."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translated(path, error) from error
    except OSError as error:
        raise StoreError(
            f"{error.filename or path}: {error.strerror or error}",
            hint="Check the rights of the file and its directory, and the free space of the disk.",
        ) from error


def _translated(path: Path, error: sqlite3.Error) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    said = " ".join(str(error).split())
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreCorrupt(
            f"{path} is damaged or no SQLite database: {said}",
            hint="Restore it from a backup, or recover what is readable with `sqlite3 FILE .recover`.",
        )
    if name.startswith("SQLITE_CANTOPEN"):
        return _cannot_open(path, said)
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreError(
            f"{path} is locked by another process: {said}",
            hint="Stop whoever writes to it (`liftlock status` names them), then try again.",
            retryable=True,
        )
    if name.startswith("SQLITE_FULL"):
        return StoreError(f"the disk that holds {path} is full", hint="Free some space, then try again.")
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH")):
        return StoreError(
            f"{path} cannot be written: {said}", hint="Run liftlock as the user that runs the tracking server."
        )
    if name.startswith("SQLITE_IOERR"):
        return StoreError(
            f"{path} cannot be read or written: {said}", hint="Check the disk and its free space.", retryable=True
        )
    return StoreError(f"{path}: {said}", hint="SQLite refused the statement.")


def _cannot_open(path: Path, said: str) -> StoreError:
    if not path.exists():
        hint = "Check the database URI; relative paths start at the server's working directory."
        return StoreError(f"there is no database {path}", hint=hint)
    if path.is_dir():
        return StoreError(f"{path} is a directory, not a database", hint="Check the database URI.")
    if not os.access(path, os.R_OK):
        return StoreError(f"no right to read {path}", hint="Run liftlock as the user that runs the tracking server.")
    return StoreError(
        f"{path} cannot be opened: {said}",
        hint="SQLite must be able to write in the directory of the database, for its journal.",
    )
