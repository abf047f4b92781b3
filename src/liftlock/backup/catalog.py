"""The sets of one backup directory: list, find, mark, and open their files for reading."""

from __future__ import annotations

import hashlib
import hmac
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from liftlock.backup.inventory import read_inventory, stored_name
from liftlock.backup.layout import MANIFEST, OPENED, PARTIAL, REMOVING, read_manifest, write_manifest
from liftlock.backup.sealing import Identities, Opener
from liftlock.effects import side_effect
from liftlock.errors import BackupError
from liftlock.files import remove_tree
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.secret import Secret
from liftlock.model.snapshot import ArtifactSnapshot, BackupSet, StoreSnapshot

T = TypeVar("T")
LATEST = "latest"


@dataclass(frozen=True)
class Catalog:
    """What lies in a backup directory. `damaged` holds directories with a manifest that is not to be believed."""

    sets: tuple[BackupSet, ...]
    damaged: tuple[tuple[Path, str], ...] = ()
    unfinished: tuple[Path, ...] = ()


def list_sets(directory: Path) -> Catalog:
    """All finished sets, oldest first, and what else of ours lies there. A missing directory holds none.

    Raises BackupError when the directory cannot be read.
    """
    sets: list[BackupSet] = []
    damaged: list[tuple[Path, str]] = []
    unfinished: list[Path] = []
    try:
        entries = sorted(path for path in directory.iterdir() if path.is_dir()) if directory.exists() else []
    except OSError as error:
        raise BackupError(f"{directory} cannot be read: {error.strerror}") from error
    for path in entries:
        if path.name.endswith((PARTIAL, REMOVING)) or path.name.startswith(OPENED):
            unfinished.append(path)
        elif (path / MANIFEST).exists():
            try:
                sets.append(read_manifest(path))
            except BackupError as error:
                damaged.append((path, error.message))
    return Catalog(tuple(sorted(sets, key=lambda one: (one.created_at, one.id))), tuple(damaged), tuple(unfinished))


def find(directory: Path, key: str) -> BackupSet:
    """The set with this id, or the newest with this tag, or the newest of all for `latest`.

    Raises BackupError when there is none, or when the one with this id (or the newest, for `latest`) is damaged.
    """
    if key and Path(key).name == key and not key.startswith(".") and (directory / key).is_dir():
        return read_manifest(directory / key)
    listed = list_sets(directory)
    found = [one for one in listed.sets if key == LATEST or key in one.tags]
    for path, reason in listed.damaged:
        # Ids begin with a time, so they sort by it. An older set must not pass for the latest unnoticed.
        if key == LATEST and (not found or path.name > found[-1].id):
            raise BackupError(
                f"the latest backup is damaged: {reason}",
                hint="Name another set by its id; `liftlock backup list` shows them.",
            )
    if not found:
        raise BackupError(
            f"there is no backup {key} in {directory}" if key != LATEST else f"there is no backup in {directory}",
            hint="`liftlock backup list` shows those there are, `liftlock backup create` makes one.",
        )
    return found[-1]


def set_keep(directory: Path, key: str, *, keep: bool, by: str | None = None) -> BackupSet:
    """Mark a set as not to be pruned (on behalf of `by`), or take the mark away."""
    found = find(directory, key)
    return _replace(directory, msgspec.structs.replace(found, keep=keep, kept_by=by if keep else None), "keep")


def set_verified(directory: Path, manifest: BackupSet, at: datetime) -> BackupSet:
    """Record that a set was restored and compared at this time, with the fingerprints found.

    Raises BackupError when a database has none: nothing could be compared with such a set later.
    """
    if missing := [snapshot.role for snapshot in manifest.stores if snapshot.fingerprint is None]:
        raise BackupError(f"backup {manifest.id} has no fingerprint of the {missing[0]} database")
    return _replace(directory, msgspec.structs.replace(manifest, verified_at=at), "verified")


def _replace(directory: Path, manifest: BackupSet, what: str) -> BackupSet:
    try:
        with side_effect(f"mark backup {what}"):
            write_manifest(directory / manifest.id, manifest)
    except OSError as error:
        raise BackupError(f"backup {manifest.id} cannot be marked: {error.strerror}") from error
    return manifest


def fingerprint_of(manifest: BackupSet, role: Role) -> Fingerprint:
    """The fingerprint of a database of a verified set. Raises BackupError where the set lacks it or is unverified."""
    saved = manifest.store(role)
    if saved is None:
        raise BackupError(f"backup {manifest.id} holds no {role.value} database", hint="Choose a set that does.")
    if manifest.verified_at is None or saved.fingerprint is None:
        raise BackupError(
            f"backup {manifest.id} was never verified, so nothing can be compared with it",
            hint=f"Run `liftlock backup verify {manifest.id}` first.",
        )
    return saved.fingerprint


def passphrase_digest(passphrase: Secret, salt: str) -> str:
    """The keyed digest of the secrets passphrase: scrypt (N=2^14, r=8, p=1), 32 bytes, in hexadecimal."""
    return hashlib.scrypt(
        passphrase.reveal().encode(), salt=bytes.fromhex(salt), n=1 << 14, r=8, p=1, dklen=32
    ).hex()  # fmt: skip


def passphrase_matches(manifest: BackupSet, passphrase: Secret | None) -> bool | None:
    """Whether this is the secrets passphrase the set's databases need; None when the set was made without one."""
    if manifest.passphrase_check is None or manifest.passphrase_salt is None:
        return None
    if passphrase is None:
        return False
    return hmac.compare_digest(passphrase_digest(passphrase, manifest.passphrase_salt), manifest.passphrase_check)


def opened(
    directory: Path,
    manifest: BackupSet,
    part: StoreSnapshot | ArtifactSnapshot,
    use: Callable[[Path], T],
    *,
    identities: Identities | None = None,
) -> T:
    """Call `use` with a directory that holds the plain files of one database or artifact root of a set.

    That is the set's own directory, or, for an encrypted set, a private decrypted copy that is removed afterwards.
    Raises BackupError when the set is encrypted and `identities` do not open it.
    """
    with opened_set(directory, manifest, identities) as reader, reader(part) as place:
        return use(place)


PartReader = Callable[[StoreSnapshot | ArtifactSnapshot], "_Part"]


@contextmanager
def opened_set(directory: Path, manifest: BackupSet, identities: Identities | None) -> Iterator[PartReader]:
    """Like `opened` for several parts, asking for the passphrase's key (a second of work) once."""
    if manifest.encrypted and identities is None:
        raise BackupError(f"backup {manifest.id} is encrypted", hint="Give its passphrase or a private age key.")
    opener = Opener(directory / manifest.id, manifest, identities) if identities and manifest.encrypted else None
    yield lambda part: _Part(directory, manifest, part, opener)


class _Part:
    """One part of a set as plain files, for the length of a `with` block."""

    def __init__(
        self, directory: Path, manifest: BackupSet, part: StoreSnapshot | ArtifactSnapshot, opener: Opener | None
    ) -> None:
        self._directory = directory
        self._manifest = manifest
        self._part = part
        self._opener = opener
        self._copy: Path | None = None

    def __enter__(self) -> Path:
        home = self._directory / self._manifest.id
        place = home / self._part.directory
        if self._opener is None:
            return place
        if isinstance(self._part, StoreSnapshot):
            names = [entry.path for entry in self._part.files]
        else:
            names = [artifact.path for artifact in read_inventory(home, self._part)]
        self._copy = Path(tempfile.mkdtemp(prefix=OPENED, dir=self._directory))
        try:
            for name in names:
                self._opener.open(place / stored_name(name, encrypted=True), self._copy / name)
        except OSError as error:
            self.__exit__()
            raise BackupError(f"{place} cannot be decrypted: {error.strerror or error}") from error
        except BaseException:
            self.__exit__()
            raise
        return self._copy

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            remove_tree(self._copy)
            self._copy = None
