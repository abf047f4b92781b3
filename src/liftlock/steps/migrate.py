"""Migrate a database with the target release's own migrations; taken back by restoring the verified snapshot."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ReleaseError
from liftlock.model.deployment import Role
from liftlock.model.plan import Reversibility
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.tools import ReleaseTools, WarmWorker
from liftlock.steps.backup import matches, restore_store
from liftlock.steps.site import Site
from liftlock.steps.written import refuse_to_lose

_DEADLINE = 24 * 3600.0


class Warmth:
    """A worker of the target release that has MLflow imported and waits, shared between steps of one process."""

    def __init__(self) -> None:
        self._worker: Future[WarmWorker] | None = None

    def begin(self, environment: Environment) -> None:
        """Start the worker without waiting for it, unless that was done: MLflow's import takes about 5 s."""
        if self._worker is None:
            pool = ThreadPoolExecutor(1, thread_name_prefix="warm-up")
            self._worker = pool.submit(ReleaseTools(environment).warm)
            pool.shutdown(wait=False)

    def take(self) -> WarmWorker | None:
        """The worker, ready; None when none was begun (after a crash): work then starts cold, only slower.

        Raises ReleaseError when it could not be started.
        """
        return self._worker.result() if self._worker is not None else None

    def close(self) -> None:
        """End the worker. Repeatable."""
        worker, self._worker = self._worker, None
        if worker is not None and worker.exception() is None:
            worker.result().close()


class WarmUp(BaseStep):
    """Import the target release ahead of the hold."""

    name = "warm-up"
    title = "warm up the migration worker"

    def __init__(self, site: Site, warmth: Warmth) -> None:
        self.site = site
        self.warmth = warmth

    def probe(self, context: Context) -> Probe:
        """A worker never outlives its process."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Wait until it is ready; it was begun when its environment was, beside the backup."""
        self.warmth.begin(target_environment(self.site, context))
        self.warmth.take()

    def undo(self, context: Context) -> None:
        """End it."""
        self.warmth.close()


class Migrate(BaseStep):
    """One database, one chain, from the revision it is at to the target's head."""

    reversibility = Reversibility.RESTORE
    holds_writes = True

    def __init__(self, site: Site, role: Role, warmth: Warmth, *, head: str, snapshot_step: str) -> None:
        self.site = site
        self.role = role
        self.warmth = warmth
        self.head = head
        self.snapshot_step = snapshot_step
        self.name = f"migrate-{role.value}"
        self.title = f"migrate the {role.value} database"

    def probe(self, context: Context) -> Probe:
        """At the head: done. Equal to the snapshot: not started. Anything else was cut off half-way."""
        if self.site.store(self.role).revision() == self.head:
            return Probe.DONE
        saved = context.outcome(self.snapshot_step).get("set")
        return Probe.NOT_STARTED if saved and matches(self.site, self.role, saved) else Probe.PARTIAL

    def run(self, context: Context) -> None:
        """Run the revisions. The new release opens this database here for the first time."""
        self.site.quiet_or_stop(f"migrating the {self.role.value} database")
        uri = self.site.store(self.role).uri
        worker = self.warmth.take()
        try:
            with side_effect(f"migrate {self.role.value}"):
                if worker is not None:
                    report = worker.migrate(uri, self.role, timeout=_DEADLINE, observer=context.observer)
                else:
                    tools = ReleaseTools(target_environment(self.site, context))
                    report = tools.migrate(uri, self.role, timeout=_DEADLINE, observer=context.observer)
        except BaseException:
            self.warmth.close()  # it still has the database open, in the middle of a transaction
            raise
        context.note(
            self.name,
            {
                "from": report.from_revision,
                "to": report.to_revision,
                "revisions": [[revision, round(seconds, 4)] for revision, seconds in report.revisions],
            },
        )
        if report.to_revision != self.head:
            raise ReleaseError(f"the migration ended at {report.to_revision}, expected {self.head}")

    def result(self, context: Context) -> Payload:
        """Revisions with their seconds."""
        return context.noted(self.name) or {"to": self.head}

    def undo(self, context: Context) -> None:
        """Restore the snapshot, unless the database still (or again) equals it."""
        saved = context.outcome(self.snapshot_step).get("set")
        self.warmth.close()
        if saved and not matches(self.site, self.role, saved):
            self.site.quiet_or_stop(f"restoring the {self.role.value} database")
            refuse_to_lose(self.site, context, (self.role,))
            restore_store(self.site, self.role, saved)


def target_environment(site: Site, context: Context) -> Environment:
    """The target's environment that `build-environments` built, from the cache."""
    digest = str(context.outcome("build-environments").get("new_lock_digest", ""))
    found = cached(site.environments, digest)
    if found is None:
        raise ReleaseError(
            f"the environment of MLflow {site.jump.target} is gone from the cache", hint="Run `liftlock abort`."
        )
    return found


def cached(environments: Environments, lock_digest: str) -> Environment | None:
    """The environment of the cache that was built from this lock, or None."""
    return next((each for each in environments.cached() if each.lock_digest == lock_digest), None)
