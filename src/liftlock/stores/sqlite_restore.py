"""Put a snapshot in the place of a SQLite database, all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

from liftlock.effects import side_effect
from liftlock.errors import StoreCorrupt, StoreError
from liftlock.files import PRIVATE_FILE, sync_directory
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.snapshot import FileEntry
from liftlock.stores.sink import Sink
from liftlock.stores.sqlite_connection import errors, side_files, writing

_PIECE = 1 << 23
_FOLD_SECONDS = 2.0  # the caller has proven that nobody has it open, so nobody is waited for


def restore_file(source: Path, entry: FileEntry, target: Path, *, observer: Observer = silent) -> None:
    """Replace the database `target` (which nobody has open) by the file `source`, which must match `entry`.

    The order makes a crash harmless. (1) The new content is written beside the target and flushed; its digest is
    compared before anything else happens. (2) The old database is opened once, so that SQLite itself folds a
    write-ahead log or a hot journal into it: the old content is then one file, still complete. Removing such files
    without that would lose commits of the old content if we died next; leaving them would let SQLite apply them to
    the new content. (3) One rename switches old to new; the directory is flushed. Owner and mode stay those of the
    file that was there. Raises StoreCorrupt for a damaged snapshot, StoreError otherwise; the target is untouched.
    """
    target = target.resolve()
    part = half_restored(target)
    with errors(target):
        try:
            with side_effect("write restored database"):
                _copy_checked(source, entry, part, observer)
                _take_over_rights(part, target)
            if target.exists():
                with side_effect("fold old journal"):
                    _fold(target)
            for stale in side_files(target):
                with side_effect("remove old journal"):
                    stale.unlink(missing_ok=True)
            sync_directory(target.parent)
            with side_effect("switch to restored database"):
                part.replace(target)
                sync_directory(target.parent)
        finally:
            part.unlink(missing_ok=True)


def half_restored(target: Path) -> Path:
    """Where new content is written before it takes the target's place."""
    return target.with_name(f".{target.name}.restore.part")


def _copy_checked(source: Path, entry: FileEntry, part: Path, observer: Observer) -> None:
    if not source.exists():
        raise StoreCorrupt(
            f"the snapshot is damaged: {entry.path} is missing", hint="Use another backup set (`liftlock backup list`)."
        )
    part.unlink(missing_ok=True)
    part.touch(mode=PRIVATE_FILE, exist_ok=False)
    with source.open("rb") as old, Sink(part, _PIECE) as sink:
        size = os.fstat(old.fileno()).st_size
        while sink.bytes < size:
            sink.take(old.fileno(), min(_PIECE, size - sink.bytes))
            observer(Progress(work="restore", done=sink.bytes, total=entry.bytes, unit="bytes"))
        digest = sink.finish()
    if (size, digest) != (entry.bytes, entry.sha256):
        raise StoreCorrupt(
            f"the snapshot is damaged: {entry.path} does not match its SHA-256",
            hint="Use another backup set (`liftlock backup list`).",
        )


def _take_over_rights(part: Path, target: Path) -> None:
    if not target.exists():
        return
    stat = target.stat()
    if (stat.st_uid, stat.st_gid) != (os.geteuid(), os.getegid()):
        os.chown(part, stat.st_uid, stat.st_gid)
    part.chmod(stat.st_mode & 0o7777)


def _fold(target: Path) -> None:
    try:
        with writing(target, timeout=_FOLD_SECONDS) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except StoreCorrupt:
        return  # the old content is beyond saving, with its journal or without
    log = side_files(target)[0]
    if busy or (log.exists() and log.stat().st_size):
        raise StoreError(
            f"{target} is still open in another process",
            hint="Stop the server and whoever else has it open, then try again.",
            retryable=True,
        )
