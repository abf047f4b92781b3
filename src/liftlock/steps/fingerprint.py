"""Measure, before a migration drops columns, what will remain of those tables; the snapshot covers all others."""

from __future__ import annotations

from liftlock.backup import catalog
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.model.codec import from_builtins, to_builtins
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.steps.site import Site
from liftlock.verify.data import comparable_columns


class FingerprintBefore(BaseStep):
    """Hash the tables that lose columns in this hop over the columns that stay."""

    name = "fingerprint-before"
    title = "measure what loses a column"
    holds_writes = True

    def __init__(self, site: Site, *, snapshot_step: str) -> None:
        self.site = site
        self.snapshot_step = snapshot_step

    def probe(self, context: Context) -> Probe:
        """Done when noted: it must have been taken before the migration."""
        return Probe.DONE if context.noted(self.name) is not None else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """One pass over the affected tables only; none in most hops."""
        noted = {}
        for role, store in self.site.stores.items():
            full = snapshot_fingerprint(self.site, context, self.snapshot_step, role)
            kept = comparable_columns(full, role, self.site.revisions(role))
            reduced = {table: names for table, names in kept.items() if names != full.columns()[table]}
            if reduced:
                noted[role.value] = to_builtins(store.fingerprint(columns=reduced, observer=context.observer))
        context.note(self.name, noted)

    def result(self, context: Context) -> Payload:
        """Role -> fingerprint of the affected tables."""
        return context.noted(self.name) or {}


def comparable_fingerprint(site: Site, context: Context, snapshot_step: str, role: Role) -> Fingerprint:
    """The state before the migration over exactly the columns that mean the same after it."""
    full = snapshot_fingerprint(site, context, snapshot_step, role)
    kept = comparable_columns(full, role, site.revisions(role))
    measured = context.outcome(FingerprintBefore.name).get(role.value)
    reduced = from_builtins(measured, Fingerprint) if measured else None
    tables = []
    for table in full.tables:
        if table.table not in kept:
            continue
        replacement = reduced.table(table.table) if reduced else None
        tables.append(replacement or table)
    return Fingerprint(algorithm=full.algorithm, tables=tuple(tables))


def snapshot_fingerprint(site: Site, context: Context, snapshot_step: str, role: Role) -> Fingerprint:
    """The fingerprint saved with a step's verified backup set. Raises BackupError when the set lacks it."""
    return saved_fingerprint(site, str(context.outcome(snapshot_step)["set"]), role)


def saved_fingerprint(site: Site, set_id: str, role: Role) -> Fingerprint:
    """The fingerprint saved with a verified backup set. Raises BackupError when the set lacks it."""
    return catalog.fingerprint_of(catalog.find(site.backup_directory, set_id), role)
