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
    `fingerprint` is of the very state that was snapshotted.
    """

    role: Role
    engine: Engine
    engine_version: str
    method: str
    directory: str
    revision: str | None
    version_table: str | None
    fingerprint: Fingerprint
    files: tuple[FileEntry, ...]
    seconds: float = 0.0
    longest_block_seconds: float = 0.0


class ArtifactSnapshot(Value, frozen=True):
    """Artifacts inside a set: files stored here, and files an earlier set (`base`) already holds."""

    uri: str
    directory: str
    inventory: str
    files: int
    bytes: int
    base: str | None = None


class BackupSet(Value, frozen=True):
    """The manifest of one set (`manifest.json`). It is written last: a directory without it is no backup.

    `verified_at` is set only after the set was restored into a scratch place and every fingerprint compared.
    `passphrase_check` is a keyed digest of the secrets passphrase, never the passphrase.
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
    verified_at: datetime | None = None
    keep: bool = False
    format: int = FORMAT

    def store(self, role: Role) -> StoreSnapshot | None:
        """The snapshot of the database with this role, or None."""
        return next((store for store in self.stores if store.role is role), None)

    @property
    def bytes(self) -> int:
        """Bytes this set holds itself, without what it shares with its base."""
        return sum(entry.bytes for entry in self.files)
