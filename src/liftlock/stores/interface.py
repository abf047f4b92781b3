"""What every database engine must be able to do for an upgrade. One file per engine, one conformance suite.

Facts are observed, snapshots are consistent and taken while others write, a restore replaces the whole content
or nothing, fingerprints are computed where the data is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from liftlock.model.deployment import Role, StoreFacts, Writer
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import StoreUri


class Store(Protocol):
    """One database of a deployment. All methods raise StoreError with a redacted, one-line message."""

    uri: StoreUri
    role: Role

    def facts(self, *, exact_rows: bool = False) -> StoreFacts:
        """Observe the database: revision, tables, sizes, rights, other owners, who has it open. Never writes."""
        ...

    def revision(self) -> str | None:
        """The Alembic revision of this role's chain (auth: `alembic_version_auth`, or `alembic_version` alone)."""
        ...

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Every table (ours and the engine's left out) -> its columns in name order, generated ones included."""
        ...

    def check_integrity(self) -> tuple[str, ...]:
        """Problems the engine itself finds (SQLite: quick_check and foreign_key_check); empty when sound."""
        ...

    def writers(self, *, ignore_pids: frozenset[int] = frozenset()) -> tuple[Writer, ...]:
        """Others who have the database open for writing right now; ours excluded."""
        ...

    def fingerprint(
        self, *, columns: Mapping[str, Sequence[str]] | None = None, observer: Observer = silent
    ) -> Fingerprint:
        """Hash all tables (or just these columns of these tables) from one consistent view of the data."""
        ...

    def snapshot(self, directory: Path, *, observer: Observer = silent) -> StoreSnapshot:
        """Write a consistent snapshot into an existing, empty, private directory while others may write.

        Files are flushed to disk. A fingerprint in the result is of the very state that was written; None where it
        can be had from the files later (SQLite), which `prove` does.
        """
        ...

    def restore(self, snapshot: StoreSnapshot, directory: Path, *, observer: Observer = silent) -> None:
        """Replace the database's whole content by the snapshot in `directory`, all or nothing.

        The caller has proven that nobody else has the database open. A crash leaves the old content or the new,
        and a repeated call finishes the work. `directory` is the one given to `snapshot`.
        """
        ...

    def prove(self, snapshot: StoreSnapshot, *, observer: Observer = silent) -> Fingerprint:
        """Show that this database, just restored from `snapshot` and open to nobody else, is sound and equals it.

        Returns its fingerprint, which is then the snapshot's. Raises StoreCorrupt when it is not equal or not sound.
        """
        ...

    def tidy(self) -> None:
        """Remove whatever of ours a killed call left in or beside the database. Idempotent; a missing one is tidy."""
        ...

    def scratch(self, name: str) -> Store:
        """A store beside this one (same engine and server) that does not exist yet; `drop` removes it."""
        ...

    def drop(self) -> None:
        """Remove a scratch store with all that is in it. Refuses anything `scratch` did not name. Idempotent."""
        ...

    def discard(self, *, saved_as: str) -> None:
        """Remove the whole database, whoever made it. `saved_as` names the verified backup set that holds its content.

        Raises Refused without one. Idempotent.
        """
        ...

    def exists(self) -> bool:
        """Whether the database exists and can be opened."""
        ...

    def schema_dump(self) -> str:
        """All tables, columns, keys, indexes, triggers and functions as stable text, for comparison."""
        ...

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """Run one SELECT (`:name` parameters) in a read-only transaction, streaming rows as mappings."""
        ...
