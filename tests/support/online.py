"""Two SQLite sides with a real gate between them, for what needs no MLflow: the same schema on both, one row each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from liftlock.gate.client import GateClient
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.online.cutover import CutOver, Limits
from liftlock.online.flow import Flow
from liftlock.online.translate import Translator
from liftlock.online.translation import translation
from liftlock.stores.live import Live
from liftlock.stores.opening import live, open_store
from tests.support.gate import GateProcess, Recorder, running
from tests.support.sqlite import make_database

QUICK = Limits(drain=0.5, patience=0.3, hold=1.5, fence=1.8, lease=2.3, tries=2, pause=0.05)


@dataclass
class TwoSides:
    """Blue is captured and copied to green, which is captured too."""

    blue: Live
    green: Live
    gate: GateProcess
    old: Recorder
    new: Recorder

    def flow(self, *, back: bool = False) -> Flow:
        """From blue to green, or back: equal schemas, so the same rules serve both ways."""
        source, sink = (self.green, self.blue) if back else (self.blue, self.green)
        shapes = source.shapes()
        rules = Translator(translation(Role.TRACKING, (), shapes, sink.shapes()), shapes, sink.shapes(), None)
        return Flow(Role.TRACKING, source, sink, rules)

    def cut(self, *, back: bool = False, limits: Limits = QUICK) -> CutOver:
        """A cut-over that is quick to give up."""
        return CutOver(
            flows=[self.flow(back=back)],
            gate=self.gate.settings.socket,
            target=(self.old if back else self.new).address,
            holder="test:back" if back else "test",
            label="closed by a test",
            limits=limits,
        )

    def upstream(self) -> Recorder:
        """Where the gate sends people now."""
        with GateClient(self.gate.settings.socket) as client:
            address = client.status().state.upstream
        return self.old if address == self.old.address else self.new


@contextmanager
def two_sides(directory: Path) -> Iterator[TwoSides]:
    """Everything running, both sides equal."""
    make_database(directory / "blue.db")
    with closing(sqlite3.connect(directory / "blue.db")) as connection:
        connection.executescript("DROP TABLE keyless; DROP TABLE renames")  # such tables cannot be followed
    store = open_store(StoreUri.parse(f"sqlite:///{directory / 'blue.db'}"), Role.TRACKING)
    blue = live(store)
    blue.capture()
    green_store = store.scratch("v2")
    blue.copy_to(green_store)
    green = live(green_store)
    green.capture()
    with Recorder("old") as old, Recorder("new") as new, running(directory / "gate", old.address) as door:
        yield TwoSides(blue, green, door, old, new)
