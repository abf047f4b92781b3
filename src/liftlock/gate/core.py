"""The gate's state: holds under a lease, and the one commit point at which traffic moves."""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor

from liftlock import clock
from liftlock.gate import machine, state
from liftlock.gate.model import Address, Counts, GateError, Phase, Settings, State
from liftlock.gate.sharing import Sharing
from liftlock.gate.traffic import Traffic
from liftlock.gate.upstream import Upstream

_PROBE = 2.0


class Gate:
    """One gate: its recorded state, and the traffic that obeys it. Everything here runs in one event loop."""

    def __init__(self, settings: Settings, current: State) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.state = current
        self.traffic = Traffic(settings, current.upstream)
        self._committing = False
        self._lease = 0.0  # monotonic: the hold ends unless renewed by then
        self._last = 0.0  # monotonic: the hold ends then, renewed or not
        self._lease_timer: asyncio.TimerHandle | None = None
        self._control = asyncio.Lock()
        # One thread: states reach the file in the order in which they were decided.
        self._writer = ThreadPoolExecutor(1, "gate-state")
        self._records: set[asyncio.Task[None]] = set()

    def counts(self) -> Counts:
        """What is true this moment."""
        traffic, metrics = self.traffic, self.traffic.metrics
        queue = traffic.queue
        return Counts(
            generation=self.state.generation, phase=self.state.phase, sides=traffic.sides(), held=len(queue),
            held_bytes=queue.bytes, oldest_held=queue.oldest, overflowed=metrics.overflowed, left=metrics.left,
            expired=metrics.expired, unsettled=metrics.unsettled, clients=len(traffic.clients),
            share=traffic.sharing.value() if traffic.sharing is not None else None,
        )  # fmt: skip

    def prometheus(self) -> str:
        """The metrics as text."""
        self.traffic.settle()
        return self.traffic.metrics.text(self.counts(), log_lost=self.traffic.log.lost)

    async def hold(self, generation: int, ttl: float, holder: str) -> State:
        """Make writes wait from now on, under a lease of `ttl` seconds. Raises GateError."""
        async with self._control:
            before = self.state
            after = machine.hold(before, generation, holder)
            if not 0 < ttl <= self.limits.lease:
                raise GateError(f"a lease lasts more than 0 and at most {self.limits.lease:g} s", code="usage")
            # First in memory: not one write may pass once the caller is told that they are held.
            self.state = after
            self.traffic.hold()
            self._last = clock.monotonic() + self.limits.hold
            self._renew(clock.monotonic() + ttl)
            try:
                await self._store(after)
            except OSError as error:
                if self.state is after:
                    self._cancel_timer()
                    self.state = before
                    self.traffic.release()
                raise GateError(f"the hold could not be recorded: {error}", code="state", retryable=True) from error
            machine.holding(self.state, after.generation)  # a slow disk may have cost the lease
            return self.state

    def heartbeat(self, generation: int, ttl: float) -> State:
        """Renew the lease. Raises Stale when it ran out already."""
        self._expire_if_due()
        machine.holding(self.state, generation)
        if not self._committing:
            self._renew(clock.monotonic() + min(ttl, self.limits.lease))
        return self.state

    async def release(self, generation: int) -> State:
        """End the hold: what waits goes to the same upstream as before. Raises Stale."""
        async with self._control:
            machine.holding(self.state, generation)
            self._let_go()
            return self.state

    async def switch(self, generation: int, target: Address) -> State:
        """The commit point: compare the generation, record the new upstream durably, send what waits there.

        Raises GateError; then nothing was switched. Whoever loses the connection before the answer asks for the
        status: its `switch` names the generation and the holder of the last committed one.
        """
        async with self._control:
            self._expire_if_due()
            machine.holding(self.state, generation)
            successor = await self._probed(target)
            try:
                await self._commit(generation, successor)
            except GateError:
                successor.retire()
                raise
            return self.state

    async def share(self, target: Address | None, percent: int) -> None:
        """Send `percent` of the reads to a second server, from now until a switch; None ends it. Raises GateError."""
        async with self._control:
            if target is None:
                self.traffic.share(None)
                return
            if not 0 < percent <= 100:
                raise GateError("a share is more than 0 and at most 100 percent", code="usage")
            if target == self.state.upstream:
                raise GateError(f"traffic goes to {target} already", code="same")
            known = self.traffic.sharing
            second = known.upstream if known is not None and known.upstream.address == target else None
            self.traffic.share(Sharing(second or await self._probed(target), percent))

    async def _probed(self, target: Address) -> Upstream:
        """An upstream that accepts connections. Raises GateError `target`."""
        found = Upstream(target, reuse=self.limits.reuse)
        try:
            found.give(await asyncio.wait_for(found.connect(), _PROBE))
        except (OSError, TimeoutError) as error:
            raise GateError(f"{target} does not accept connections: {error}", code="target") from error
        return found

    async def _commit(self, generation: int, successor: Upstream) -> None:
        self._expire_if_due()
        after = machine.switch(
            self.state, generation, successor.address, writes=self.traffic.upstream.writes, at=clock.now().isoformat()
        )
        # Decided. The lease cannot run out between here and the record, which is all that can still fail.
        self._committing = True
        self._cancel_timer()
        try:
            await self._store(after)
        except OSError as error:
            # What the file says is what a restart would believe, so it decides.
            if state.load(self.settings.state_file) != after:
                self._renew(self._lease)
                raise GateError(f"the switch could not be recorded: {error}", code="state") from error
        finally:
            self._committing = False
        self.state = after
        self.traffic.move(successor)
        self.traffic.release()

    async def run_sweeper(self) -> None:
        """Cut off slow clients, notice held clients that left, and write the log; for ever."""
        traffic = self.traffic
        turn = 0
        while True:
            await asyncio.sleep(0.1)
            turn += 1
            traffic.drop_departed()
            if turn % 5 == 0:
                traffic.settle()
                await traffic.log.flush()
            if turn % 10 == 0:
                traffic.sweep(clock.monotonic())

    async def close(self) -> None:
        """Let go of a hold and wait a moment for what is in flight, at the end of the process."""
        async with self._control:
            if self.state.phase is Phase.HOLDING:
                self._let_go()
        await self.traffic.close()
        self._writer.shutdown()

    def _renew(self, until: float) -> None:
        self._cancel_timer()
        self._lease = min(until, self._last)
        delay = max(0.0, self._lease - clock.monotonic())
        self._lease_timer = asyncio.get_running_loop().call_later(delay, self._lease_over)

    def _cancel_timer(self) -> None:
        if self._lease_timer is not None:
            self._lease_timer.cancel()
            self._lease_timer = None

    def _lease_over(self) -> None:
        self._expire_if_due()
        if self.state.phase is Phase.HOLDING and not self._committing:
            self._renew(self._lease)  # the timer was early by less than its resolution

    def _expire_if_due(self) -> None:
        if self.state.phase is Phase.HOLDING and not self._committing and clock.monotonic() >= self._lease:
            self.traffic.metrics.expired += 1
            self._let_go()

    def _let_go(self) -> None:
        # Clients first: they wait. Should the record fail or the process die, a restart lets go once more.
        self._cancel_timer()
        self.state = machine.let_go(self.state)
        self.traffic.release()
        task = asyncio.get_running_loop().create_task(self._record(self.state))
        self._records.add(task)
        task.add_done_callback(self._records.discard)

    async def _record(self, after: State) -> None:
        with contextlib.suppress(OSError):
            await self._store(after)

    async def _store(self, after: State) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, state.store, self.settings.state_file, after)
