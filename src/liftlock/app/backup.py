"""`backup`: make, list, verify, restore and prune sets of the configured deployment."""

from __future__ import annotations

from pathlib import Path

from liftlock import clock
from liftlock.app.sites import sources
from liftlock.app.workspace import Workspace
from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup import catalog
from liftlock.backup.create import create
from liftlock.backup.prune import Pruned, Pruning, plan_prune, prune
from liftlock.backup.restore import Restored, Targets, restore
from liftlock.backup.sealing import Identities, Recipients
from liftlock.backup.verify import verify
from liftlock.errors import Refused
from liftlock.model.codec import Value
from liftlock.model.finding import Finding, blocking
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import BackupSet
from liftlock.steps.site import describe_writers


class Made(Value, frozen=True):
    """A new set and what verifying it found (empty when it was not asked for)."""

    set: BackupSet
    findings: tuple[Finding, ...]


def make(
    workspace: Workspace,
    *,
    tags: tuple[str, ...] = (),
    full: bool = False,
    keep: bool = False,
    encrypt_to: Recipients | None = None,
    check: bool = True,
    observer: Observer = silent,
) -> Made:
    """Make one set while the server goes on, and (unless encrypted or told not to) verify it by restoring."""
    with workspace.lock("backup create"):
        directory = workspace.config.backup_directory
        made = create(
            sources(workspace),
            directory,
            tags=tags,
            base=None if full else "auto",
            keep=keep,
            encrypt_to=encrypt_to,
            observer=observer,
        )
        if encrypt_to is not None and encrypt_to.passphrase is None:
            return Made(set=made, findings=())  # only the holder of the private key can read it back
        identities = Identities(passphrase=encrypt_to.passphrase) if encrypt_to else None
        found: tuple[Finding, ...] = ()
        if check:
            found = verify(directory, made.id, stores=workspace.stores, identities=identities, observer=observer)
        return Made(set=catalog.find(directory, made.id), findings=found)


def listing(workspace: Workspace, directory: Path | None = None) -> catalog.Catalog:
    """What lies in the backup directory."""
    return catalog.list_sets(directory or workspace.config.backup_directory)


def check_set(
    workspace: Workspace, key: str, *, identities: Identities | None = None, observer: Observer = silent
) -> tuple[Finding, ...]:
    """Check every file of a set and restore it into a scratch place."""
    with workspace.lock(f"backup verify {key}"):
        return verify(
            workspace.config.backup_directory, key, stores=workspace.stores, identities=identities, observer=observer
        )


def bring_back(
    workspace: Workspace,
    key: str,
    *,
    artifacts: bool = True,
    identities: Identities | None = None,
    observer: Observer = silent,
) -> tuple[Restored, BackupSet | None]:
    """Restore databases and artifacts of a set over the deployment; the set saved of what was there before, if any.

    Raises Refused while a server runs or anybody has a database open, or when what is there cannot be saved first.
    """
    with workspace.lock(f"backup restore {key}"):
        directory = workspace.config.backup_directory
        found = catalog.find(directory, key)
        if workspace.server() is not None:
            raise Refused("the server runs", hint="Stop it first: `liftlock server stop`.")
        existing = {role: store for role, store in workspace.stores.items() if store.exists()}
        busy = {role: writers for role, store in existing.items() if (writers := store.writers())}
        if busy:
            raise Refused(describe_writers(busy), hint="End those processes and try again.")
        saved = None
        if existing:
            saved = create(
                sources(workspace), directory, tags=(f"pre-restore-{clock.stamp()}",), keep=True, observer=observer
            )
            stops = blocking(verify(directory, saved.id, stores=existing, observer=observer))
            if stops:
                raise Refused(f"what is there now cannot be saved first: {stops[0].message}", hint=stops[0].hint)
        roots = {entry.uri: LocalArtifacts(Path(entry.uri)) for entry in found.artifacts} if artifacts else {}
        stores = {entry.role: workspace.stores[entry.role] for entry in found.stores if entry.role in workspace.stores}
        targets = Targets(stores=stores, artifacts=roots)
        return restore(directory, found.id, targets, identities=identities, observer=observer), saved


def mark(workspace: Workspace, key: str, *, keep: bool) -> BackupSet:
    """Protect a set from pruning, or let it go."""
    with workspace.lock("backup keep"):
        return catalog.set_keep(workspace.config.backup_directory, key, keep=keep, by="operator" if keep else None)


def prune_preview(workspace: Workspace, *, keep_last: int | None, keep_days: int | None) -> Pruning:
    """What `prune` would remove."""
    rules = _rules(workspace, keep_last, keep_days)
    return plan_prune(listing(workspace).sets, keep_last=rules[0], keep_days=rules[1], now=clock.now())


def prune_sets(workspace: Workspace, *, keep_last: int | None, keep_days: int | None) -> Pruned:
    """Remove what the rules (given, or of liftlock.toml) do not hold."""
    rules = _rules(workspace, keep_last, keep_days)
    with workspace.lock("backup prune"):
        return prune(workspace.config.backup_directory, keep_last=rules[0], keep_days=rules[1], now=clock.now())


def _rules(workspace: Workspace, keep_last: int | None, keep_days: int | None) -> tuple[int | None, int | None]:
    if keep_last is None and keep_days is None:
        return workspace.config.backup.keep_last, workspace.config.backup.keep_days
    return keep_last, keep_days
