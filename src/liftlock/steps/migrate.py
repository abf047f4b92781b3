"""Migrate a database with the target release's own migrations; taken back by restoring the verified snapshot."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ReleaseError
from liftlock.model.deployment import Role
from liftlock.model.plan import Reversibility
from liftlock.model.release import Release
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.tools import ReleaseTools, WarmWorker
from liftlock.steps.backup import matches, restore_store
from liftlock.steps.site import Site
from liftlock.steps.written import refuse_to_lose

_DEADLINE = 24 * 3600.0


class Warmth:
    """Workers that have MLflow imported and wait, shared between steps of one process.

    One of the target release migrates, is its client and erases afterwards; others are only clients. `auth` says
    whether there is an auth database to migrate.
    """

    def __init__(self, *, auth: bool = True) -> None:
        self._auth = auth
        self._worker: Future[WarmWorker] | None = None
        self._target: Release | None = None
        self._clients: dict[Release, Future[WarmWorker]] = {}

    def begin(self, environment: Environment) -> None:
        """Start the target's worker without waiting for it, unless that was done: the import takes 3 to 5 s."""
        if self._worker is None:
            self._target = environment.release
            self._worker = _beside(partial(ReleaseTools(environment).warm, auth=self._auth))

    def begin_client(self, environment: Environment) -> None:
        """Start a client's process without waiting for it, unless that was done."""
        if environment.release != self._target and environment.release not in self._clients:
            self._clients[environment.release] = _beside(ReleaseTools(environment).warm_client)

    def take(self) -> WarmWorker | None:
        """The target's worker, ready; None when none was begun (after a crash): work then starts cold, only slower.

        Raises ReleaseError when it could not be started.
        """
        return self._worker.result() if self._worker is not None else None

    def client(self, release: Release) -> WarmWorker | None:
        """A worker that can be a client of this release, as `take`."""
        if release == self._target:
            return self.take()
        found = self._clients.get(release)
        return found.result() if found is not None else None

    def close(self, release: Release | None = None) -> None:
        """End all workers, or the one of this release. Repeatable."""
        ended = [self._clients.pop(each) for each in list(self._clients) if release in (None, each)]
        if self._worker is not None and release in (None, self._target):
            ended.append(self._worker)
            self._worker, self._target = None, None
        for worker in ended:
            if worker.exception() is None:
                worker.result().close()


def _beside(start: Callable[[], WarmWorker]) -> Future[WarmWorker]:
    pool = ThreadPoolExecutor(1, thread_name_prefix="warm-up")
    begun = pool.submit(start)
    pool.shutdown(wait=False)
    return begun


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
        self._warm_old_client(context)
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

    def _warm_old_client(self, context: Context) -> None:
        """A migration keeps one processor busy; beside it a client of the old release gets ready to verify."""
        digest = str(context.outcome("build-environments").get("old_replica_digest") or "")
        old = cached(self.site.environments, digest)
        if old is not None:
            self.warmth.begin_client(old)

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
