"""Send everybody to another server of the same database: one short hold of the gate, nothing to bring over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ServerError
from liftlock.gate import installed
from liftlock.gate.model import Address
from liftlock.model.codec import to_builtins
from liftlock.online.control import Control
from liftlock.online.converge import Pace
from liftlock.online.cutover import CutOver
from liftlock.steps.site import Site, wake


@dataclass(frozen=True)
class Door:
    """The gate's control socket, what starts a dead gate again, and where a run's progress is told."""

    socket: Path
    revive: Callable[[], None]
    control: Control


class Turn(BaseStep):
    """From the server at `home` to that of `site` at `to`; undone by going back."""

    holds_writes = True

    def __init__(self, door: Door, site: Site, *, name: str, title: str, to: Address, home: Address) -> None:
        self.door = door
        self.site = site
        self.name = name
        self.title = title
        self.to = to
        self.home = home

    def probe(self, context: Context) -> Probe:
        """The gate's last switch tells."""
        self.door.revive()
        if not self._cut(context, back=False).committed():
            return Probe.NOT_STARTED
        installed.moved(self.door.socket.parent, self.to)
        return Probe.DONE

    def run(self, context: Context) -> None:
        """Hold, wait until no write is in flight, switch; and write down where everybody is, for `gate status`."""
        wake(self.site)
        held = self._cut(context, back=False).run(Pace(), self.door.control, observer=context.observer)
        installed.moved(self.door.socket.parent, self.to)
        context.note(self.name, to_builtins(held))

    def result(self, context: Context) -> Payload:
        """How long writes were held."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Send everybody home, if they left."""
        self.door.revive()
        if not self._cut(context, back=False).committed():
            return
        home = self._cut(context, back=True)
        if not home.committed():
            home.run(Pace(), self.door.control, observer=context.observer)
        installed.moved(self.door.socket.parent, self.home)

    def _cut(self, context: Context, *, back: bool) -> CutOver:
        return CutOver(
            flows=(),
            gate=self.door.socket,
            target=self.home if back else self.to,
            holder=f"{context.run}:{self.name}{':undo' if back else ''}",
            label="",
            ready=(lambda: None) if back else self._ready,
            revive=self.door.revive,
        )

    def _ready(self) -> None:
        if self.site.runtime.find() is None:
            raise ServerError("the server that people were to be sent to has died", hint="Its log says why.")
