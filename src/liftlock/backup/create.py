"""Make one backup set: all a deployment needs to come back, in one directory that appears whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from liftlock import clock
from liftlock.backup import catalog
from liftlock.backup.layout import PARTIAL
from liftlock.backup.making import FULL, Making, Sources
from liftlock.backup.sealing import Recipients, Sealer
from liftlock.effects import side_effect
from liftlock.errors import BackupError, LiftlockError
from liftlock.files import (
    PRIVATE_DIR,
    private_directory,
    remove_tree,
    sync_directory,
)
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import BackupSet

__all__ = ["AUTO", "Sources", "create", "remove_dead"]

AUTO = "auto"


def create(
    sources: Sources,
    directory: Path,
    *,
    tags: tuple[str, ...] = (),
    base: str | None = AUTO,
    encrypt_to: Recipients | None = None,
    keep: bool = False,
    kept_by: str | None = None,
    observer: Observer = silent,
) -> BackupSet:
    """Write one set below `directory` (made if missing, owner-only) and return its manifest; it is not verified yet.

    Artifacts equal to those of `base` are hard-linked from it, so every set is complete by itself and removing one
    harms no other. `base` is the id or tag of a verified set, `auto` for the newest that fits, None for a full set.
    With `encrypt_to` databases pass through the set's private directory in plain before they are encrypted.

    Raises BackupError (disk full, directory read-only, base unknown or unfit), StoreError, ArtifactError or
    UsageError (a malformed key). Whatever is raised, nothing is listed and no other set is touched.
    """
    created_at = clock.now()
    try:
        remove_dead(directory)
        with side_effect("make backup directory"):
            private_directory(directory)
            partial = _claim(directory, clock.stamp(created_at))
    except OSError as error:
        raise _explained(error, directory) from error
    with _locked(partial):
        return _create(
            sources, directory, partial, created_at, tags=tags, base=base, encrypt_to=encrypt_to, keep=keep,
            kept_by=kept_by, observer=observer,
        )  # fmt: skip


def remove_dead(directory: Path) -> None:
    """Remove what killed backups left half-way. What somebody is writing just now is locked by them, and stays.

    Raises OSError when something cannot be removed.
    """
    for path in directory.glob(f"*{PARTIAL}"):
        with suppress(FileNotFoundError), _locked(path) as dead:
            if dead:
                with side_effect("remove leftover"):
                    remove_tree(path)


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Lock a directory for as long as this process lives, if nobody else has; the kernel lets go of it at our death."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # taken, or a file system without such locks: then it is left to `prune`, a day later
            yield False
            return
        yield True
    finally:
        os.close(descriptor)


def _create(
    sources: Sources, directory: Path, partial: Path, created_at: datetime, *, tags: tuple[str, ...],
    base: str | None, encrypt_to: Recipients | None, keep: bool, kept_by: str | None, observer: Observer,
) -> BackupSet:  # fmt: skip
    try:
        against = _base(directory, base, sources, encrypt_to)
        sealer = Sealer(encrypt_to, base=directory / against.id if against else None) if encrypt_to else None
        if against and sealer and sealer.public != against.recipients:
            against = None
        work = Making(sources, directory, partial, against, sealer, observer)
        manifest = work.fill(
            BackupSet(
                id=partial.name.removesuffix(PARTIAL),
                created_at=created_at,
                release=sources.release,
                tags=tags,
                stores=(),
                artifacts=(),
                files=(),
                keep=keep,
                kept_by=kept_by if keep else None,
            )
        )
        with side_effect("publish backup"):
            partial.rename(directory / manifest.id)
            sync_directory(directory)
    except BaseException as error:
        with suppress(OSError):  # what cannot be removed now is never listed, and `prune` removes it later
            remove_tree(partial)
        if isinstance(error, OSError | LiftlockError):
            raise _explained(error, directory) from error
        raise
    return manifest


def _claim(directory: Path, name: str) -> Path:
    """A new `<id>.partial` that nobody else has; a second backup within one second gets a number."""
    for number in range(1, 100):
        identity = name if number == 1 else f"{name}-{number}"
        if (directory / identity).exists():
            continue
        partial = directory / (identity + PARTIAL)
        try:
            partial.mkdir(mode=PRIVATE_DIR)
        except FileExistsError:
            continue
        return partial
    raise BackupError(f"{directory} has a hundred backups of this second", hint="Try again.", retryable=True)


def _base(directory: Path, base: str | None, sources: Sources, encrypt_to: Recipients | None) -> BackupSet | None:
    if base is None or not sources.artifacts:
        return None
    if base == AUTO:
        fitting = [
            one
            for one in catalog.list_sets(directory).sets
            if one.verified_at is not None and one.encrypted is (encrypt_to is not None)
        ]
        return fitting[-1] if fitting else None
    found = catalog.find(directory, base)
    if found.verified_at is None:
        raise BackupError(
            f"backup {found.id} was never verified, so nothing is based on it",
            hint=f"Run `liftlock backup verify {found.id}` first.",
        )
    if found.encrypted is not (encrypt_to is not None):
        raise BackupError(f"backup {found.id} and the new one are not both encrypted", hint="Make a full backup.")
    return found


def _explained(error: OSError | LiftlockError, directory: Path) -> LiftlockError:
    """The error as the operator should read it; a full disk is named as such whoever ran into it."""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).lower()
        full = isinstance(cause, OSError) and cause.errno in FULL
        if full or "no space left" in text or "disk is full" in text or "quota exceeded" in text:
            return BackupError(
                f"no space left for a backup in {directory}; nothing was kept of it",
                hint="Free space there (`liftlock backup prune`), or name another directory.",
            )
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, LiftlockError):
        return error
    return BackupError(
        f"no backup can be written in {directory}: {error.strerror or error}",
        hint="The directory must be writable by the user who runs liftlock.",
    )
