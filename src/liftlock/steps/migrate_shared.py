"""Migrate the database that people use, under the old release: one transaction of PostgreSQL's, in one hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from liftlock import clock
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ReleaseError
from liftlock.gate.client import GateClient, holding
from liftlock.model.deployment import Role
from liftlock.model.progress import Progress
from liftlock.releases.tools import WarmWorker
from liftlock.steps.turn import Door
from liftlock.stores import postgresql_shared as shared
from liftlock.stores.interface import Store

_DRAIN = 3.0
_TRIES = 5
_PAUSE = 1.0


class MigrateShared(BaseStep):
    """Writers wait at the gate, readers in the database. `limit` (seconds) bounds both: past it PostgreSQL takes the
    whole migration back, and nothing has happened.

    There is no way back to the old schema: the old release stays, on its own version table.
    """

    name = "migrate-tracking"
    title = "migrate the database under the old release"
    holds_writes = True

    def __init__(
        self, store: Store, door: Door, worker: Callable[[Context], WarmWorker], *, before: str, head: str,
        limit: float,
    ) -> None:  # fmt: skip
        self.store = store
        self.door = door
        self.worker = worker
        self.before = before
        self.head = head
        self.limit = limit

    def probe(self, context: Context) -> Probe:
        """All or nothing: it is one transaction."""
        found = self.store.revision()
        return {self.head: Probe.DONE, self.before: Probe.NOT_STARTED}.get(found or "", Probe.UNKNOWN)

    def run(self, context: Context) -> None:
        """A lock that somebody's long transaction keeps from us is not waited for: it would keep everybody waiting."""
        worker = self.worker(context)
        for attempt in range(1, _TRIES + 1):
            try:
                self._attempt(worker, context)
            except ReleaseError as error:
                if attempt == _TRIES or "lock timeout" not in error.message.lower():
                    raise
                context.observer(Progress(work=f"{self.title}: tables are in use, tried {attempt} times"))
                clock.sleep(_PAUSE * attempt)
            else:
                return

    def result(self, context: Context) -> Payload:
        """Seconds held, and the revisions with their seconds."""
        return context.noted(self.name) or {}

    def _attempt(self, worker: WarmWorker, context: Context) -> None:
        began = clock.monotonic()
        with self._held(context):
            report = worker.migrate(
                self.store.uri.with_options(
                    f"-c lock_timeout={int(self.limit * 500)} -c statement_timeout={int(self.limit * 1000)}"
                ),
                Role.TRACKING,
                timeout=self.limit * 2,
                observer=context.observer,
            )
            shared.hang_up(self.store.uri)
            if report.to_revision != self.head:
                raise ReleaseError(f"the migration ended at {report.to_revision}, expected {self.head}")
        context.note(
            self.name,
            {
                "from": report.from_revision,
                "to": report.to_revision,
                "revisions": [[revision, round(seconds, 4)] for revision, seconds in report.revisions],
                "hold": round(clock.monotonic() - began, 4),
            },
        )

    @contextmanager
    def _held(self, context: Context) -> Iterator[None]:
        """Writes wait at the gate and none is in flight."""
        self.door.revive()
        with GateClient(self.door.socket) as client:
            generation = client.status().state.generation
            with holding(self.door.socket, generation, holder=f"{context.run}:{self.name}") as lease:
                client.drain(lease.generation, limit=_DRAIN)
                yield
