"""Snapshots of databases and backup sets: self-describing directories, readable without liftlock."""

from __future__ import annotations

from datetime import datetime

from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.uri import Engine

FORMAT = 1


class FileEntry(Value, frozen=True):
    """One file of a set: path relative to the set's directory, size in bytes, SHA-256 in hexadecimal."""

    path: str
    bytes: int
    sha256: str


class StoreSnapshot(Value, frozen=True):
    """One database inside a set.

    `method` says how it was taken and so how it is read back: `sqlite-file` (one database file),
    `pg-dump-directory` (for pg_restore), `copy-streams` (schema.sql and one COPY file per table).
    `fingerprint` is of the very state that was snapshotted. It may be None until the set is verified: then `files`
    alone say what was saved, and verifying takes it from the restored database, proven equal to them.
    """

    role: Role
    engine: Engine
    engine_version: str
    method: str
    directory: str
    revision: str | None
    version_table: str | None
    fingerprint: Fingerprint | None
    files: tuple[FileEntry, ...]
    seconds: float = 0.0
    longest_block_seconds: float = 0.0


class LeftOut(Value, frozen=True):
    """An artifact that is not in the set, and why (a link out of the root, a file that changed while it was read)."""

    path: str
    reason: str


class ArtifactSnapshot(Value, frozen=True):
    """One artifact root inside a set. Every file of `inventory` lies below `directory`: a set is complete by itself.

    `files` and `bytes` count them all, as the root held them; `linked_files` and `linked_bytes` are those of them
    that are hard links into the set's base and so cost nothing.
    """

    uri: str
    directory: str
    inventory: str
    files: int
    bytes: int
    linked_files: int = 0
    linked_bytes: int = 0
    left_out: tuple[LeftOut, ...] = ()


class BackupSet(Value, frozen=True):
    """The manifest of one set (`manifest.json`). It is written last: a directory without it is no backup.

    `verified_at` is set only after the set was restored into a scratch place and every database compared; from then
    on every database has its fingerprint.
    `passphrase_check` is a keyed digest of the secrets passphrase, never the passphrase. `files` lists every stored
    file but `manifest.json` and the artifacts, which the inventories list. `recipients` are the public age keys
    every payload file is encrypted to. `base` is the set that unchanged artifacts were linked from. `keep` holds
    pruning off, on behalf of `kept_by`.
    """

    id: str
    created_at: datetime
    release: str
    tags: tuple[str, ...]
    stores: tuple[StoreSnapshot, ...]
    artifacts: tuple[ArtifactSnapshot, ...]
    files: tuple[FileEntry, ...]
    environment_lock: str | None = None
    passphrase_check: str | None = None
    passphrase_salt: str | None = None
    encrypted: bool = False
    recipients: tuple[str, ...] = ()
    base: str | None = None
    verified_at: datetime | None = None
    keep: bool = False
    kept_by: str | None = None
    format: int = FORMAT

    def store(self, role: Role) -> StoreSnapshot | None:
        """The snapshot of the database with this role, or None."""
        return next((store for store in self.stores if store.role is role), None)

    @property
    def passphrase_locked(self) -> bool:
        """Whether the set carries its own key, locked with a passphrase (`identity.age`)."""
        return any(entry.path == "identity.age" for entry in self.files)

    @property
    def bytes(self) -> int:
        """Bytes this set holds itself, without what it shares with its base."""
        return sum(entry.bytes for entry in self.files) + sum(root.bytes - root.linked_bytes for root in self.artifacts)
