"""Move everybody to the other side, the one step in which writes are held; and the same the other way round."""

from __future__ import annotations

from collections.abc import Callable

from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ServerError
from liftlock.gate.model import Address
from liftlock.model.codec import to_builtins
from liftlock.online.control import When
from liftlock.online.converge import await_moment, converge
from liftlock.online.cutover import CutOver, Limits
from liftlock.steps.converge import Flows
from liftlock.steps.sides import Sides
from liftlock.steps.site import Site, wake


class SwitchSides(BaseStep):
    """`there` flows to the side it moves to, `back` from it. Undone by the same act in the other direction, which keeps
    what was written meanwhile.
    """

    holds_writes = True

    def __init__(
        self, sides: Sides, site: Site, *, name: str, title: str, there: Flows, back: Flows,
        to: Callable[[Context], Address], home: Callable[[Context], Address], when: When, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        """`site` is the one whose server people are to go to."""
        self.sides = sides
        self.site = site
        self.name = name
        self.title = title
        self.there = there
        self.back = back
        self.to = to
        self.home = home
        self.when = when
        self.limits = limits or Limits()

    def probe(self, context: Context) -> Probe:
        """The gate's last switch tells; a fence of a killed attempt is taken away (or made to last)."""
        self.sides.revive()
        cut = self._cut(context)
        if cut.committed():
            cut.settle()
            return Probe.DONE
        cut.withdraw()
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Wait for the moment, then hold, fence, bring over the rest, switch."""
        wake(self.site)
        cut, pace = self._cut(context), self.sides.pace()
        await_moment(cut.flows, self.when, pace, self.sides.control, observer=context.observer)
        held = cut.run(pace, self.sides.control, observer=context.observer)
        context.note(self.name, to_builtins(held))

    def result(self, context: Context) -> Payload:
        """How long writes were held, and with what."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Before the switch: nothing but a fence to take away. After it: cut over back, with all that was written."""
        self.sides.revive()
        cut = self._cut(context)
        if not cut.committed():
            cut.withdraw()
            return
        flows, pace = self.back(context), self.sides.pace()
        back = CutOver(
            flows=flows, gate=self.sides.gate, target=self.home(context), holder=f"{cut.holder}:undo",
            label=cut.label, limits=self.limits, revive=self.sides.revive,
        )  # fmt: skip
        if not back.committed():
            converge(flows, pace, self.sides.control, phase="bring back what was written", observer=context.observer)
            back.run(pace, self.sides.control, observer=context.observer)
        back.settle()

    def _cut(self, context: Context) -> CutOver:
        return CutOver(
            flows=self.there(context),
            gate=self.sides.gate,
            target=self.to(context),
            holder=f"{context.run}:{self.name}",
            label=f"liftlock: this MLflow database is closed, {self.title} ({context.run})",
            limits=self.limits,
            ready=self._ready,
            revive=self.sides.revive,
        )

    def _ready(self) -> None:
        """Raise ServerError where people would be sent to a server that is gone."""
        if self.site.runtime.find() is None:
            raise ServerError("the server that people were to be sent to has died", hint="Its log says why.")
