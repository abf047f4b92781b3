"""Capture what people change: in the databases that serve, and, for the way back, in those that will."""

from __future__ import annotations

from collections.abc import Mapping

from liftlock.engine.interface import BaseStep, Context, Probe
from liftlock.model.deployment import Role
from liftlock.model.progress import Progress
from liftlock.stores.live import Live


class Capture(BaseStep):
    """Triggers on every table; taken back without a trace."""

    def __init__(self, stores: Mapping[Role, Live], *, name: str, title: str) -> None:
        self.stores = stores
        self.name = name
        self.title = title

    def probe(self, context: Context) -> Probe:
        """Installing again keeps what is complete."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """One database after the other; each waits for writers in a transaction, in short tries."""
        for role, live in self.stores.items():
            context.observer(Progress(work=f"{self.title}: {role.value}"))
            live.capture()

    def undo(self, context: Context) -> None:
        """Remove triggers, log and fence."""
        for live in self.stores.values():
            if live.store.exists():
                live.release()
