"""In a rehearsal: does the old release work on the database that the new one has migrated, while the new one runs?"""

from __future__ import annotations

from collections.abc import Callable

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import LiftlockError
from liftlock.releases.tools import ReleaseTools
from liftlock.runtimes.interface import Runtime, ServerSpec
from liftlock.steps.migrate import cached
from liftlock.steps.site import Site, server_url
from liftlock.stores import postgresql_shared as shared
from liftlock.stores.interface import Store


class OldBesideNew(BaseStep):
    """Start the old release on the migrated copy and let a real client of it work there. Its outcome is a fact for the
    planner (`rolling`), so nothing here fails the rehearsal.
    """

    name = "old-beside-new"
    title = "run the old release on the migrated copy"

    def __init__(
        self, site: Site, store: Store, revision: str, runtime: Runtime, spec: Callable[[], ServerSpec]
    ) -> None:
        """`revision` is the one the old release expects; `spec` starts it, on its own version table and port."""
        self.site = site
        self.store = store
        self.revision = revision
        self.runtime = runtime
        self.spec = spec

    def probe(self, context: Context) -> Probe:
        """Tried anew after a crash."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """The copy is dropped later, with what this writes to it."""
        try:
            why = self._tried(context)
        except LiftlockError as error:
            why = error.message
        finally:
            self._stop()
        context.note(self.name, {"beside": why})

    def result(self, context: Context) -> Payload:
        """Why it did not work; empty where it did."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """End the server; the version table goes with the copy."""
        self._stop()

    def _tried(self, context: Context) -> str:
        digest = str(context.outcome("build-environments").get("old_replica_digest") or "")
        environment = cached(self.site.environments, digest)
        if environment is None:
            return "its environment could not be rebuilt, so no client of it could be run"
        before, head = self.store.schema_dump(), self.store.revision()
        shared.give(self.store.uri, self.revision)
        spec = self.spec()
        with side_effect("start old server beside"):
            self.runtime.start(spec)
        username, password = self.site.login or (None, None)
        report = ReleaseTools(environment).smoke(server_url(spec), username=username, password=password)
        if report.failed:
            first = report.failed[0]
            return f"{first.name}: {first.message}"
        self._stop()
        shared.take_away(self.store.uri, self.revision)
        if self.store.revision() != head or self.store.schema_dump() != before:
            return "it changed the schema by starting"
        return ""

    def _stop(self) -> None:
        handle = self.runtime.find()
        if handle is not None:
            with side_effect("stop old server beside"):
                self.runtime.stop(handle)
