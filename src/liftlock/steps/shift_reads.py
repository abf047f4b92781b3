"""Move reads to the new server little by little, and look at what it answers before more follow."""

from __future__ import annotations

from liftlock import clock
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ServerError
from liftlock.gate.client import GateClient
from liftlock.gate.model import Address, GateError, Share
from liftlock.model.progress import Progress
from liftlock.steps.turn import Door

STAGES = (1, 10, 50, 100)
_LOOK = 0.25
_TOLERATED = 0.01
"""How much larger the share of failed answers may be on the new server than on the old one."""


class ShiftReads(BaseStep):
    """1, 10, 50 and 100 % of the reads; each stage for `stay` seconds. They stay there until the writes follow."""

    name = "shift-reads"
    title = "move 1, 10, 50 and 100 % of the reads"

    def __init__(self, door: Door, to: Address, *, stay: float) -> None:
        self.door = door
        self.to = to
        self.stay = stay

    def probe(self, context: Context) -> Probe:
        """A gate that was started again sends all reads to the old server, so the stages begin anew."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """Raise ServerError, with all reads back on the old server, where the new one fails more often."""
        self.door.revive()
        seen: list[Payload] = []
        with GateClient(self.door.socket) as client:
            for percent in STAGES:
                context.observer(Progress(work=f"{percent} % of the reads go to the new server"))
                client.share(self.to, percent)
                found = self._watch(client)
                seen.append({"percent": percent, "answered": found.answered, "failed": found.failed})
        context.note(self.name, {"stages": seen})

    def result(self, context: Context) -> Payload:
        """Reads answered by the new server, and failed, in each stage."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """All reads to the old server."""
        self.door.revive()
        with GateClient(self.door.socket) as client:
            client.share(None, 0)

    def _watch(self, client: GateClient) -> Share:
        deadline = clock.monotonic() + self.stay
        while True:
            share = client.counts().share
            if share is None:
                raise GateError("the gate forgot the share of reads", code="share", hint="Was it started again?")
            if why := worse(share):
                client.share(None, 0)
                raise ServerError(why, hint="The new server's log says more; all reads go to the old one again.")
            if clock.monotonic() > deadline:
                return share
            clock.sleep(_LOOK)


def worse(share: Share) -> str:
    """Why the new server must not get more; empty while it does no worse than the old one. Pure."""
    if not share.failed:
        return ""
    new = share.failed / max(1, share.answered)
    old = share.others_failed / max(1, share.others)
    if new <= old + _TOLERATED:
        return ""
    there, here = f"{share.failed} of {share.answered}", f"{share.others_failed} of {share.others}"
    return f"{there} reads failed on the new server, {here} on the old one"
