"""Move everybody from the source's server to the sink's, in one hold of the gate, or not at all.

hold writes at the gate -> wait until none is in flight -> fence the source (I9) and, in the same transaction, read
what is left of its log -> apply it, read it back, move the sequences, open the sink if it was fenced ->
compare-and-set at the gate: the one commit point. Before it, whatever goes wrong takes the fence away and then lets
the gate go, to the old side. After it, the fence is made to last. If we die in between, the gate's lease runs out and
so does the fence, by their own clocks, the fence first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from liftlock import clock
from liftlock.errors import NeedsPerson, ReleaseError, StoreError
from liftlock.gate import state
from liftlock.gate.client import GateClient, Lease, holding
from liftlock.gate.model import Address, GateError
from liftlock.model.codec import Value
from liftlock.model.progress import Observer, Progress, silent
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.online.flow import Flow


class Limits(Value, frozen=True):
    """Seconds: for writes in flight to end, for locks, of the whole hold before the switch, until the fence falls by
    itself, of the gate's lease; and how often a cut-over is tried, with a growing pause.

    hold < fence < lease, by more than the heartbeat's 0.25 s: while we may still switch, the fence stands; when we
    died, it has fallen before the gate lets anybody go on to the database it stood in.
    """

    drain: float = 3.0
    patience: float = 1.0
    hold: float = 4.0
    fence: float = 4.5
    lease: float = 5.0
    tries: int = 6
    pause: float = 0.5


class Held(Value, frozen=True):
    """A committed cut-over: seconds writes were held in the attempt that succeeded, its parts, and how many tries."""

    hold: float
    drained: float
    fenced: float
    applied: float
    keys: int
    attempts: int
    given_up: tuple[str, ...] = ()
    late: int = 0


@dataclass(frozen=True)
class CutOver:
    """From the server at the gate's upstream to `target`. `gate` is its control socket, `holder` this run's name there;
    `label` is what refused writers are told. `ready` raises where the server at `target` could not serve, `revive`
    starts the gate again where it is dead.
    """

    flows: Sequence[Flow]
    gate: Path
    target: Address
    holder: str
    label: str
    limits: Limits = field(default_factory=Limits)
    ready: Callable[[], None] = lambda: None
    revive: Callable[[], None] = lambda: None

    def committed(self) -> bool:
        """Whether this very cut-over is the gate's last switch. Raises GateError where the gate cannot be asked."""
        with GateClient(self.gate) as client:
            return client.committed(self.holder, self.target)

    def run(self, pace: Pace, control: Control, *, observer: Observer = silent) -> Held:
        """Try until it is done. Raises the last attempt's error; everything is on the old side then."""
        given_up: list[str] = []
        deadline = clock.monotonic() + self.limits.lease + 1.0
        while True:
            try:
                for flow in self.flows:
                    flow.rules.prepare()
                self.ready()
                clean, held = self._attempt(given_up)
            except (GateError, StoreError, ReleaseError) as error:
                code = error.code if isinstance(error, GateError) else ""
                if code in ("unreachable", "unknown"):
                    self.revive()
                if code == "held" and clock.monotonic() < deadline:
                    clock.sleep(0.1)  # a predecessor that was killed in its hold: its lease runs out
                    continue
                given_up.append(error.message)
                if not (error.retryable or code in ("stale", "unknown")) or len(given_up) >= self.limits.tries:
                    raise
                observer(Progress(work=f"cut-over put off: {error.message}"))
                clock.sleep(self.limits.pause * len(given_up))
                converge(self.flows, pace, control, observer=observer)
                continue
            self.settle()
            return self._with_late(held) if clean else held

    def settle(self) -> None:
        """After the switch: nobody writes to the old side again, whatever happens to us. Idempotent."""
        for flow in self.flows:
            flow.source.fence_for_good(self.label)

    def _with_late(self, held: Held) -> Held:
        """If we slept between our last look and the switch for so long that the fence had fallen, a writer that
        bypasses the gate may have written to the old side: such keys were logged, and are brought over now.
        """
        late = sum(flow.epoch(None).keys for flow in self.flows if flow.source.backlog())
        return msgspec.structs.replace(held, late=late) if late else held

    def withdraw(self) -> None:
        """Before the switch: take away a fence that a killed attempt left. Idempotent."""
        for flow in self.flows:
            flow.source.unfence()

    def _attempt(self, given_up: list[str]) -> tuple[bool, Held]:
        """The hold, and whether the log it ended with was consumed: only then is what is left in it late."""
        with GateClient(self.gate) as client:
            generation = client.status().state.generation
            began = clock.monotonic()
            with holding(self.gate, generation, holder=self.holder, ttl=self.limits.lease) as lease:
                client.drain(lease.generation, limit=self.limits.drain)
                drained = clock.monotonic()
                closed = [flow for flow in self.flows if flow.sink.fenced()]
                try:
                    fenced, applied, keys, tokens = self._final(began)
                    self._commit(client, lease, began)
                except BaseException:
                    self._let_go(closed)
                    raise
                ended = clock.monotonic()
        try:
            for flow, token in zip(self.flows, tokens, strict=True):
                flow.source.consume(token)
            clean = True
        except StoreError:
            clean = False
        return clean, Held(
            hold=round(ended - began, 4),
            drained=round(drained - began, 4),
            fenced=round(fenced - drained, 4),
            applied=round(applied - fenced, 4),
            keys=keys,
            attempts=len(given_up) + 1,
            given_up=tuple(given_up),
        )

    def _final(self, began: float) -> tuple[float, float, int, list[object]]:
        """Fence all sources, then bring the rest over."""
        with ExitStack() as stack:
            last = []
            for flow in self.flows:
                left = self.limits.hold - (clock.monotonic() - began)
                view = stack.enter_context(
                    flow.source.fence(
                        self.label, seconds=self.limits.fence, patience=max(0.1, min(self.limits.patience, left))
                    )
                )
                last.append(flow.prepare(view))
        fenced = clock.monotonic()
        for flow, prepared in zip(self.flows, last, strict=True):
            flow.finish(prepared)
            flow.sink.advance(flow.source.sequences())
            flow.sink.unfence()
        return fenced, clock.monotonic(), sum(each.keys for each in last), [each.token for each in last]

    def _commit(self, client: GateClient, lease: Lease, began: float) -> None:
        spent = clock.monotonic() - began
        if lease.lost.is_set() or spent > self.limits.hold:
            raise StoreError(
                f"the hold took {spent:.1f} s, more than the {self.limits.hold:g} s allowed",
                hint="It is tried again; a quieter moment (--cut-over when-quiet) helps.",
                retryable=True,
            )
        try:
            client.switch(lease.generation, self.target)
        except GateError as error:
            if error.code != "unknown" or not self._asked():
                raise

    def _asked(self) -> bool:
        """After a broken connection: what the gate's state says, as soon as it answers again."""
        deadline = clock.monotonic() + self.limits.fence / 2
        while True:
            try:
                return self.committed()
            except GateError as error:
                self.revive()
                if clock.monotonic() > deadline:
                    # The fence falls by itself; both sides stand, and the state file knows which one is live.
                    raise NeedsPerson(
                        "the gate ended while it switched and does not answer",
                        hint="Start it again (`liftlock gate run`, or `gate install`), then `liftlock resume`.",
                    ) from error
                clock.sleep(0.05)

    def _let_go(self, closed: Sequence[Flow]) -> None:
        try:
            if self.committed():
                return
        except GateError:
            # It is gone; what it wrote down before is what it will go on with.
            written = state.load(self.gate.parent / "state.json")
            if written is None or (written.switch and written.switch.holder == self.holder):
                return
        for flow in self.flows:
            with contextlib.suppress(StoreError):  # it falls by itself soon
                flow.source.unfence()
        for flow in closed:
            flow.sink.fence_for_good(self.label)
