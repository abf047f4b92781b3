"""Bring a deployment's data back from a set, after the whole set was found undamaged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.artifacts.interface import ArtifactStore
from liftlock.backup import catalog
from liftlock.backup.integrity import damages
from liftlock.backup.inventory import read_inventory
from liftlock.backup.sealing import Identities
from liftlock.effects import side_effect
from liftlock.errors import BackupError, StoreCorrupt
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer, silent
from liftlock.model.secret import redact
from liftlock.model.snapshot import BackupSet
from liftlock.stores.interface import Store


@dataclass(frozen=True)
class Targets:
    """Where a set goes: databases by role, artifact roots by the URI they had. What is not named stays in the set."""

    stores: Mapping[Role, Store] = field(default_factory=dict)
    artifacts: Mapping[str, ArtifactStore] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """What was put back: rows by role, bytes of artifacts really written by URI, and what the targets left out."""

    rows: dict[Role, int]
    artifact_bytes: dict[str, int]
    not_restored: tuple[str, ...]


def restore(
    directory: Path,
    key: str,
    targets: Targets,
    *,
    identities: Identities | None = None,
    observer: Observer = silent,
) -> Restored:
    """Replace the databases by those of a set and put its artifacts back; extra artifacts stay.

    The caller has proven that nobody has the databases open. Every file of the set is checked before anything is
    touched, every database is compared with what was saved after. A repeated call finishes what a crash interrupted.
    Raises BackupError (damaged, locked or unknown set, a target the set knows nothing of, a database that differs
    after its restore), StoreError or ArtifactError.
    """
    manifest = catalog.find(directory, key)
    _known(manifest, targets)
    home = directory / manifest.id
    wrong = damages(home, manifest, observer=observer)
    if wrong:
        raise BackupError(
            f"backup {manifest.id} is damaged, nothing was restored: {wrong[0]}"
            + (f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""),
            hint="Use another set; `liftlock backup list` shows them.",
        )
    rows: dict[Role, int] = {}
    written: dict[str, int] = {}
    left = []
    named = {redact(uri): store for uri, store in targets.artifacts.items()}
    with catalog.opened_set(directory, manifest, identities) as reader:
        # Artifacts first: a database must never name files that are not there yet.
        for number, root in enumerate(manifest.artifacts):
            if (artifacts := named.get(root.uri)) is None:
                left.append(f"artifacts of {root.uri}")
                continue
            files = [entry.file for entry in read_inventory(home, root)]
            with reader(root) as place, side_effect(f"restore artifacts {number}"):
                written[root.uri] = artifacts.restore(files, place, observer=observer)
        for snapshot in manifest.stores:
            if (store := targets.stores.get(snapshot.role)) is None:
                left.append(f"the {snapshot.role} database")
                continue
            with reader(snapshot) as place, side_effect(f"restore {snapshot.role}"):
                store.restore(snapshot, place, observer=observer)
            try:
                rows[snapshot.role] = store.prove(snapshot, observer=observer).rows
            except StoreCorrupt as error:
                raise BackupError(
                    f"the {snapshot.role} database was restored, but it is not what was saved: {error.message}",
                    hint="Somebody may have written to it meanwhile: stop every writer and restore again.",
                ) from error
    return Restored(rows, written, tuple(left))


def _known(manifest: BackupSet, targets: Targets) -> None:
    missing = [f"{role} database" for role in targets.stores if manifest.store(role) is None]
    uris = {root.uri for root in manifest.artifacts}
    missing += [f"artifact root {redact(uri)}" for uri in targets.artifacts if redact(uri) not in uris]
    if missing:
        raise BackupError(f"backup {manifest.id} holds no {missing[0]}", hint="Choose a set that does.")
