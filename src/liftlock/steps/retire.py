"""Steps around a switch of sides: the gate's record, and the side that nobody needs any more."""

from __future__ import annotations

from collections.abc import Callable

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Probe
from liftlock.gate import installed
from liftlock.gate.model import Address
from liftlock.model.plan import Reversibility
from liftlock.steps.sides import Sides


class RecordGate(BaseStep):
    """Write down which server is behind the gate now, for `gate status` and `gate remove`; drop scratch databases."""

    name = "record-gate"
    title = "record which server is behind the gate"

    def __init__(self, sides: Sides, *, to: Callable[[Context], Address], home: Callable[[Context], Address]) -> None:
        self.sides = sides
        self.to = to
        self.home = home

    def probe(self, context: Context) -> Probe:
        """Writing it again does no harm."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """The new address."""
        self.sides.rules.close()
        self._write(self.to(context))

    def undo(self, context: Context) -> None:
        """The old one."""
        self._write(self.home(context))

    def _write(self, private: Address) -> None:
        installed.moved(self.sides.gate.parent, private)


class RetireGreen(BaseStep):
    """After a rollback: drop the newer databases (a verified backup holds them) and end capture on those that serve."""

    name = "retire-green"
    title = "drop the newer databases and end capture"
    reversibility = Reversibility.NONE

    def __init__(self, sides: Sides, *, saved_step: str) -> None:
        self.sides = sides
        self.saved_step = saved_step

    def probe(self, context: Context) -> Probe:
        """Both halves can be repeated."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Only with the backup's id at hand."""
        saved = str(context.outcome(self.saved_step).get("set") or "")
        for role, live in self.sides.green.items():
            with side_effect(f"discard green {role.value}"):
                live.store.discard(saved_as=saved)
        for live in self.sides.blue.values():
            live.release()
        self.sides.rules.close()
