"""Stop and start the tracking server, and prove that nobody writes in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import Refused
from liftlock.model.release import Release
from liftlock.runtimes.interface import Handle
from liftlock.steps.site import Site, describe_writers
from liftlock.steps.written import refuse_to_lose


class StopServer(BaseStep):
    """End one release's server; taken back by starting it again on its own interpreter."""

    holds_writes = True

    def __init__(self, site: Site, *, name: str, release: Release, python: Path, handle: Handle | None) -> None:
        self.site = site
        self.name = name
        self.title = f"stop MLflow {release}"
        self.release = release
        self.python = python
        self.handle = handle

    def probe(self, context: Context) -> Probe:
        """Done when the process that ran at the start is gone."""
        handle = self._handle(context)
        return Probe.NOT_STARTED if handle is not None and self.site.runtime.alive(handle) else Probe.DONE

    def run(self, context: Context) -> None:
        """Signal the whole process group and wait until the port is free."""
        handle = self._handle(context)
        if handle is not None:
            context.note(self.name, {"pid": handle.pid, "created": handle.created})
            with side_effect("stop server"):
                self.site.runtime.stop(handle)

    def undo(self, context: Context) -> None:
        """Start the same release again, unless it runs."""
        running = self.site.runtime.find() or self._alive(context)
        if running is None:
            with side_effect("start server again"):
                self.site.runtime.start(self.site.spec(self.python, self.release))

    def _handle(self, context: Context) -> Handle | None:
        noted = context.noted(self.name)
        if noted:
            return Handle(pid=int(noted["pid"]), created=float(noted["created"]))
        return self.handle or self.site.runtime.find()

    def _alive(self, context: Context) -> Handle | None:
        handle = self._handle(context)
        return handle if handle is not None and self.site.runtime.alive(handle) else None


class ProveQuiet(BaseStep):
    """Prove, do not assume, that nobody has a database open: other processes write to it too (jobs, `mlflow gc`)."""

    name = "prove-quiet"
    title = "prove that nobody writes"
    holds_writes = True

    def __init__(self, site: Site, *, patience: float = 15.0) -> None:
        self.site = site
        self.patience = patience

    def probe(self, context: Context) -> Probe:
        """Always asked anew: what was quiet before a crash need not be quiet now."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Wait for connections to end, then refuse with their names."""
        deadline = clock.monotonic() + self.patience
        while busy := self.site.writers():
            if clock.monotonic() > deadline:
                raise Refused(describe_writers(busy), hint="End those processes and try again.")
            clock.sleep(0.2)


class StartServer(BaseStep):
    """Start one release's server on the public port; taken back by stopping it."""

    holds_writes = True

    def __init__(
        self, site: Site, *, name: str, release: Release, python: Callable[[Context], Path], opens: bool = False
    ) -> None:
        """`opens` says that clients come to migrated databases with this start, so undoing it asks for their writes."""
        self.site = site
        self.opens = opens
        self.name = name
        self.title = f"start MLflow {release}"
        self.release = release
        self.python = python

    def probe(self, context: Context) -> Probe:
        """Done when a server of ours runs; the runtime records it before it is healthy, so a crash finds it."""
        return Probe.PARTIAL if self.site.runtime.find() is not None else Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Start and wait for health."""
        with side_effect("start server"):
            handle = self.site.runtime.start(self.site.spec(self.python(context), self.release))
        context.note(self.name, {"pid": handle.pid, "created": handle.created, "opened_at": clock.now().isoformat()})

    def result(self, context: Context) -> Payload:
        """The process and the moment it was open to clients."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Stop whatever server of ours runs."""
        handle = self.site.runtime.find()
        if handle is not None:
            if self.opens:
                refuse_to_lose(self.site, context, tuple(self.site.stores))
            with side_effect("stop server"):
                self.site.runtime.stop(handle)
