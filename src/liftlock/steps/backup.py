"""Backup sets as steps: made, restored into a scratch place and compared before anything depends on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from liftlock import clock
from liftlock.backup import catalog
from liftlock.backup.create import Sources, create, remove_dead
from liftlock.backup.current import is_current, schemas
from liftlock.backup.verify import SCRATCH, verify
from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import BackupError, NeedsPerson, StoreError
from liftlock.model.deployment import Role
from liftlock.model.finding import blocking
from liftlock.steps.site import Site
from liftlock.steps.written import changed_since
from liftlock.stores.interface import Store


class BackUp(BaseStep):
    """Make one verified set and remember its id. With `quiet`, nobody may have a database open meanwhile.

    Where `unless` names an earlier step of this kind and its set still is what a new one would be, that one is taken:
    comparing takes a fraction of the time that everybody would wait for another. The set stays when the step is
    taken back: it is the user's, and taking a backup harmed nobody.
    """

    def __init__(
        self, site: Site, *, name: str, title: str, tag: str, quiet: bool = False, unless: str | None = None
    ) -> None:
        self.site = site
        self.name = name
        self.title = title
        self.tag = tag
        self.quiet = quiet
        self.unless = unless
        self.holds_writes = quiet

    def probe(self, context: Context) -> Probe:
        """Done when the noted set exists and was verified; an unfinished one is simply made anew."""
        noted = context.noted(self.name)
        if noted is None:
            return Probe.NOT_STARTED
        try:
            found = catalog.find(self.site.backup_directory, str(noted["set"]))
        except BackupError:
            return Probe.NOT_STARTED
        return Probe.DONE if found.verified_at is not None else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Create, then verify by restoring. A set that does not compare equal fails the step."""
        if self.quiet:
            self.site.quiet_or_stop("the final snapshot")
        self._let_go(context)
        sources = self.site.sources()
        now = schemas(sources)
        if (earlier := self._earlier(context, sources, now)) is not None:
            context.note(self.name, {"set": earlier, "schemas": now, "same_as": self.unless})
            return
        made = create(
            sources,
            self.site.backup_directory,
            tags=(f"{self.tag}-{clock.stamp()}", f"run-{context.run}"),
            keep=True,
            kept_by=context.run,
            observer=context.observer,
        )
        context.note(self.name, {"set": made.id, "schemas": now})
        findings = verify(self.site.backup_directory, made.id, stores=self.site.stores, observer=context.observer)
        stops = blocking(findings)
        if stops:
            raise BackupError(
                f"the backup {made.id} does not restore to what was saved: {stops[0].message}",
                hint="Nothing was changed. Check the disk, then try again.",
            )

    def result(self, context: Context) -> Payload:
        """The set's id."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Remove only what was cut off half-way: finished sets are the user's."""
        self._let_go(context)
        remove_dead(self.site.backup_directory)
        for store in self.site.stores.values():
            store.scratch(SCRATCH).drop()

    def _earlier(self, context: Context, sources: Sources, now: Mapping[str, str]) -> str | None:
        """The id of the earlier step's set, if it holds just what is there now."""
        earlier = context.outcome(self.unless) if self.unless is not None else {}
        if not earlier.get("set") or earlier.get("schemas") != now:
            return None
        return str(earlier["set"]) if is_current(sources, self.site.backup_directory, str(earlier["set"])) else None

    def _let_go(self, context: Context) -> None:
        """Sets of this run that were never verified (it was killed before) are not worth protecting."""
        if not self.site.backup_directory.is_dir():
            return
        for each in catalog.list_sets(self.site.backup_directory).sets:
            if each.kept_by == context.run and each.verified_at is None:
                catalog.set_keep(self.site.backup_directory, each.id, keep=False)


class Restore(BaseStep):
    """Put one database back from a set; taken back by restoring the set made just before."""

    def __init__(self, site: Site, role: Role, *, source: str, fallback_step: str) -> None:
        self.site = site
        self.role = role
        self.source = source
        self.fallback_step = fallback_step
        self.name = f"restore-{role.value}"
        self.title = f"restore the {role.value} database from backup {source}"
        self.holds_writes = True

    def probe(self, context: Context) -> Probe:
        """Compare the database with both sets: equal to the source is done, to the fallback is not started."""
        if matches(self.site, self.role, self.source):
            return Probe.DONE
        fallback = context.outcome(self.fallback_step).get("set")
        return Probe.NOT_STARTED if fallback and matches(self.site, self.role, fallback) else Probe.PARTIAL

    def run(self, context: Context) -> None:
        """Replace the whole content, all or nothing."""
        self.site.quiet_or_stop(f"restoring the {self.role.value} database")
        restore_store(self.site, self.role, self.source)

    def undo(self, context: Context) -> None:
        """Bring the state before the rollback back."""
        fallback = context.outcome(self.fallback_step).get("set")
        if fallback and not matches(self.site, self.role, fallback):
            self.site.quiet_or_stop(f"restoring the {self.role.value} database")
            self._refuse_to_lose()
            restore_store(self.site, self.role, fallback)

    def _refuse_to_lose(self) -> None:
        """The old server may have been open to clients already: what they wrote is in no backup."""
        saved = catalog.find(self.site.backup_directory, self.source)
        store, entry = self.site.store(self.role), saved.store(self.role)
        if entry is None or store.revision() != entry.revision:
            return
        written = changed_since(catalog.fingerprint_of(saved, self.role), store.fingerprint())
        if written:
            raise NeedsPerson(
                f"clients have written to the {self.role.value} database since it went back ({', '.join(written)})",
                hint="`liftlock resume` goes on with the rollback and keeps those writes.",
            )


def tidy(stores: Iterable[Store]) -> None:
    """Remove what a killed predecessor of ours left in these databases."""
    for store in stores:
        with side_effect("tidy database"):
            store.tidy()


def matches(site: Site, role: Role, set_id: str) -> bool:
    """Whether the database's content equals the one saved in a verified set, by fingerprint over all saved columns.

    Raises BackupError where the set was never verified.
    """
    found = catalog.find(site.backup_directory, set_id)
    saved = found.store(role)
    if saved is None:
        return False
    expected = catalog.fingerprint_of(found, role)
    store = site.store(role)
    try:
        if not store.exists() or store.revision() != saved.revision:
            return False
        if {table: tuple(names) for table, names in store.columns().items()} != expected.columns():
            return False
        return not store.fingerprint().differences(expected)
    except StoreError:
        return False


def restore_store(site: Site, role: Role, set_id: str) -> None:
    """Restore one database from a set and prove it by fingerprint. Raises BackupError when it is not equal."""
    found = catalog.find(site.backup_directory, set_id)
    saved = found.store(role)
    if saved is None:
        raise BackupError(f"backup {set_id} holds no {role.value} database")
    with side_effect(f"restore {role.value}"):
        catalog.opened(
            site.backup_directory, found, saved, lambda directory: site.store(role).restore(saved, directory)
        )
    if not matches(site, role, set_id):
        raise BackupError(
            f"the {role.value} database does not equal backup {set_id} after restoring it",
            hint=f"The backup is untouched; verify it with `liftlock backup verify {set_id}`.",
        )
