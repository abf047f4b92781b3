"""Whether a set still is what a new one would be, so that none has to be made while everybody waits."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

from liftlock.artifacts.interface import ArtifactStore
from liftlock.backup import catalog
from liftlock.backup.inventory import read_inventory
from liftlock.backup.making import Sources
from liftlock.errors import LiftlockError
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.secret import redact
from liftlock.model.snapshot import BackupSet
from liftlock.stores.interface import Store

# The share of all rows that the small tables may hold together: what is looked at first.
_SMALL = 0.1
_CLOSE = timedelta(seconds=2)  # clocks of file systems tick coarsely


def is_current(sources: Sources, directory: Path, key: str) -> bool:
    """Compare the sources with a verified set: every row and column, every artifact, configuration, release.

    The caller has proven that nobody writes. Small tables are compared first, as nearly every write to MLflow touches
    one, so a set that is out of date is mostly found out quickly. False also where it cannot be told. Schemas are
    compared by revision and columns only; see `schemas`.
    """
    try:
        found = catalog.find(directory, key)
        if found.verified_at is None or found.encrypted or found.release != sources.release:
            return False
        return (
            _same_texts(sources, directory / found.id, found)
            and {each.role for each in found.stores} == set(sources.stores)
            and _same_artifacts(sources, directory / found.id, found)
            and all(_same_database(store, found) for store in sources.stores.values())
        )
    except (LiftlockError, OSError):
        return False


def schemas(sources: Sources) -> dict[str, str]:
    """Role -> SHA-256 of the whole schema. A set whose `schemas` were taken before it can be held against them."""
    return {
        role.value: hashlib.sha256(store.schema_dump().encode()).hexdigest() for role, store in sources.stores.items()
    }


def _same_database(store: Store, found: BackupSet) -> bool:
    saved = found.store(store.role)
    if saved is None or not store.exists() or store.revision() != saved.revision:
        return False
    expected = catalog.fingerprint_of(found, store.role)
    columns = expected.columns()
    if {table: tuple(names) for table, names in store.columns().items()} != columns:
        return False
    for tables in _portions(expected):
        taken = store.fingerprint(columns={table: columns[table] for table in tables})
        if taken.algorithm != expected.algorithm or any(
            taken.table(table) != expected.table(table) for table in tables
        ):
            return False
    return True


def _portions(expected: Fingerprint) -> list[list[str]]:
    """The tables in two portions, small ones first."""
    room = expected.rows * _SMALL
    small: list[str] = []
    large: list[str] = []
    for entry in sorted(expected.tables, key=lambda entry: entry.rows):
        room -= entry.rows
        (small if room >= 0 else large).append(entry.table)
    return [tables for tables in (small, large) if tables]


def _same_artifacts(sources: Sources, home: Path, found: BackupSet) -> bool:
    roots = {root.uri: root for root in found.artifacts}
    stores: dict[str, ArtifactStore] = {redact(uri): store for uri, store in sources.artifacts.items()}
    if set(roots) != set(stores) or any(root.left_out for root in roots.values()):
        return False
    limit = (found.created_at - _CLOSE).timestamp() * 1e9
    for uri, store in stores.items():
        held = [entry.file for entry in read_inventory(home, roots[uri])]
        now = store.inventory(known=[file for file in held if file.mtime_ns < limit])
        if [(file.path, file.sha256) for file in now] != [(file.path, file.sha256) for file in held]:
            return False
    return True


def _same_texts(sources: Sources, home: Path, found: BackupSet) -> bool:
    texts = {
        "configuration/liftlock.toml": sources.config,
        "configuration/secrets.txt": "".join(f"{name}\n" for name in sources.secret_names),
        "environment/lock.txt": sources.environment_lock,
    }
    for name, text in texts.items():
        if text is None:
            if (home / name).exists():
                return False
        elif (home / name).read_text("utf-8") != redact(text):
            return False
    if sources.passphrase is None or found.passphrase_salt is None:
        return (sources.passphrase is None) is (found.passphrase_check is None)
    return catalog.passphrase_digest(sources.passphrase, found.passphrase_salt) == found.passphrase_check
