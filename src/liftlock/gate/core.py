"""The heart of the gate: who may pass, who waits, where requests go, and the one commit point."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

from liftlock import clock
from liftlock.gate import machine, state
from liftlock.gate.connection import ClientConnection
from liftlock.gate.endpoints import Classifier, table
from liftlock.gate.exchange import Exchange
from liftlock.gate.log import AccessLog, Line
from liftlock.gate.metrics import Metrics
from liftlock.gate.model import Address, Counts, GateError, Phase, Settings, State
from liftlock.gate.upstream import Upstream, UpstreamConnection

_ABANDONED = 30.0
_CONNECT_PAUSE = 0.05
_PROBE = 2.0
_REASONS = {
    400: "Bad Request", 408: "Request Timeout", 417: "Expectation Failed", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}  # fmt: skip
_CODES = {429: "REQUEST_LIMIT_EXCEEDED", 502: "TEMPORARILY_UNAVAILABLE", 503: "TEMPORARILY_UNAVAILABLE"}


class Gate:
    """One gate; everything here runs in one event loop, so its counts are exact at every moment."""

    def __init__(self, settings: Settings, current: State) -> None:
        self.settings = settings
        self.limits = settings.limits
        self.state = current
        self.classifier = Classifier(table(), static_prefix=settings.static_prefix)
        self.metrics = Metrics()
        self.log = AccessLog(settings.log, max_bytes=self.limits.log_bytes, files=self.limits.log_files)
        self.clients: set[ClientConnection] = set()
        self.idle: dict[ClientConnection, None] = {}
        self._upstream = Upstream(current.upstream, reuse=self.limits.reuse)
        self._retired: list[Upstream] = []
        self._held: dict[Exchange, None] = {}
        self._held_bytes = 0
        self._holding = False
        self._committing = False
        self._lease = 0.0  # monotonic: the hold ends unless renewed by then
        self._last = 0.0  # monotonic: the hold ends then, renewed or not
        self._lease_timer: asyncio.TimerHandle | None = None
        self._control = asyncio.Lock()
        # One thread: states reach the file in the order in which they were decided.
        self._writer = ThreadPoolExecutor(1, "gate-state")
        self._tasks: set[asyncio.Task[None]] = set()
        # Wall-clock time is the monotonic one plus this: one clock call a request is enough.
        self._epoch = clock.now().timestamp() - clock.monotonic()

    # Requests

    def enter(self, client: ClientConnection) -> bool:
        """Take a client in; False when the gate is full even after the longest idle one was sent away."""
        if len(self.clients) >= self.limits.connections:
            oldest = next(iter(self.idle), None)
            if oldest is None:
                return False
            del self.idle[oldest]
            oldest.transport.abort()
            self.clients.discard(oldest)
        self.clients.add(client)
        return True

    def leave(self, client: ClientConnection) -> None:
        """A client's connection is gone."""
        self.clients.discard(client)
        self.idle.pop(client, None)

    def admit(self, exchange: Exchange) -> None:
        """Let a request pass, or make it wait."""
        if not (self._holding and exchange.write):
            self._dispatch(exchange)
            return
        exchange.size = exchange.pending_bytes + exchange.client.buffered()
        if len(self._held) >= self.limits.queue or self._held_bytes + exchange.size > self.limits.queue_bytes:
            self.metrics.overflowed += 1
            # 429, not 503: every MLflow client resends any request on 429, but 3.18 fails a create_run on 503 at once.
            self._answer(exchange, 429, "writes are held for an upgrade and too many wait; try again")
            return
        exchange.held_since = clock.monotonic()
        self._held[exchange] = None
        self._held_bytes += exchange.size
        exchange.client.pause()

    def _dispatch(self, exchange: Exchange) -> None:
        upstream = self._upstream
        exchange.upstream = upstream
        upstream.count(write=exchange.write, by=1)
        connection = upstream.take(write=exchange.write)
        if connection is not None:
            connection.start(exchange)
        else:
            self._spawn(self._connect(exchange, upstream))

    async def _connect(self, exchange: Exchange, upstream: Upstream) -> None:
        # A server that is just being restarted refuses for a moment. A client of its own would connect again; behind
        # the gate it would see an answer instead, which MLflow 3.18 does not resend for every call. So wait here.
        deadline = clock.monotonic() + self.limits.connect
        connection: UpstreamConnection | None = None
        while not exchange.gone and connection is None:
            try:
                connection = await asyncio.wait_for(upstream.connect(), max(0.1, deadline - clock.monotonic()))
            except (OSError, TimeoutError):
                if clock.monotonic() >= deadline:
                    break
                if upstream.retired and not exchange.write:
                    break
                await asyncio.sleep(_CONNECT_PAUSE)
            if connection is not None and connection.closing:
                connection = None
        if exchange.gone:
            if connection is not None:
                upstream.give(connection)
            self.finished(exchange)
        elif connection is not None:
            connection.start(exchange)
        elif upstream.retired and not exchange.write:
            upstream.count(write=False, by=-1)
            self._dispatch(exchange)
        else:
            self._answer(exchange, 503, f"no connection to the server at {upstream.address}")

    def retry(self, exchange: Exchange) -> bool:
        """Send a read again whose kept connection turned out to be closed; False when that is not possible."""
        if exchange.write or exchange.retried or exchange.gone or not exchange.whole or exchange.upstream is None:
            return False
        exchange.retried = True
        exchange.upstream.count(write=False, by=-1)
        exchange.connection = None
        exchange.pending = [exchange.whole]
        exchange.upstream = self._upstream
        self._upstream.count(write=False, by=1)
        self._spawn(self._connect(exchange, self._upstream))
        return True

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over: count, log, and let the client go on."""
        upstream = exchange.upstream
        exchange.connection = None
        if upstream is not None:
            upstream.count(write=exchange.write, by=-1)
            if upstream.retired and not upstream.reads and not upstream.writes:
                with contextlib.suppress(ValueError):
                    self._retired.remove(upstream)
        now = clock.monotonic()
        seconds = now - exchange.started
        status = 499 if exchange.gone and not exchange.status else exchange.status
        self.metrics.request(read=not exchange.write, status=status, seconds=seconds)
        client = exchange.client
        self.log.add(
            Line(
                int((self._epoch + exchange.started) * 1000), client.name, *exchange.head.line, not exchange.write,
                status, int(seconds * 1e6), int(exchange.held * 1e6), upstream.name if upstream is not None else "",
            )
        )  # fmt: skip
        client.answered(exchange)

    def failed(self, exchange: Exchange, why: str) -> None:
        """The upstream broke off. A write may have been done or not: nobody knows, and the client is told 502."""
        if exchange.write:
            self.metrics.unsettled += 1
        self._answer(exchange, 502, why)

    def abandon(self, exchange: Exchange) -> None:
        """The client left: drop what waits; cut off a read; let a write that was sent completely come to its end."""
        exchange.gone = True
        connection = exchange.connection
        if exchange in self._held:
            del self._held[exchange]
            self._waited(exchange)
            self.metrics.left += 1
            self.finished(exchange)
        elif connection is None:
            return  # being connected for: `_connect` sees that nobody waits
        elif exchange.write:
            exchange.abandoned = clock.monotonic()
            connection.go_on_reading()
            if not exchange.complete:
                connection.finish_sending()
        else:
            connection.abort()

    def broken(self, exchange: Exchange, why: str) -> None:
        """The body is malformed: nothing more of it is sent on, and the server is cut off."""
        client = exchange.client
        self.metrics.rejected += 1
        connection = exchange.connection
        answered = exchange.answered
        exchange.status = 400
        exchange.gone = True
        client.exchange = None
        if connection is not None:
            connection.abort()  # its end finishes the exchange
        elif exchange in self._held:
            del self._held[exchange]
            self._waited(exchange)
            self.finished(exchange)
        elif exchange.upstream is None:
            self.finished(exchange)
        if answered:
            client.transport.abort()
        else:
            client.refuse(400, why)

    def slow(self, exchange: Exchange) -> None:
        """A body did not arrive in time."""
        self.metrics.timed_out += 1
        exchange.status = 408

    def rejected(self, client: ClientConnection, status: int) -> None:
        """A head was answered and not forwarded: count and log it."""
        self.metrics.rejected += 1
        at = int((self._epoch + clock.monotonic()) * 1000)
        self.log.add(Line(at, client.name, "", "", "", "", False, status, 0))

    def message(self, status: int, reason: str, *, keep: bool, bodiless: bool = False) -> bytes:
        """An answer of the gate's own, in the form of MLflow's errors."""
        body = json.dumps({"error_code": _CODES.get(status, "BAD_REQUEST"), "message": f"liftlock gate: {reason}"})
        again = "Retry-After: 1\r\n" if status in (429, 503) else ""
        return (
            f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n{again}"
            f"Content-Length: {len(body)}\r\nConnection: {'keep-alive' if keep else 'close'}\r\n\r\n"
            f"{'' if bodiless else body}"
        ).encode()

    def _answer(self, exchange: Exchange, status: int, reason: str) -> None:
        if exchange.gone:
            exchange.status = exchange.status or 499
        else:
            exchange.client.respond(exchange, status, reason)
        self.finished(exchange)

    def _waited(self, exchange: Exchange) -> None:
        self._held_bytes -= exchange.size
        exchange.held = clock.monotonic() - exchange.held_since
        exchange.held_since = 0.0
        self.metrics.longest_held = max(self.metrics.longest_held, exchange.held)

    # Control

    def counts(self) -> Counts:
        """What is true this moment."""
        metrics = self.metrics
        oldest = next(iter(self._held), None)
        return Counts(
            generation=self.state.generation, phase=self.state.phase,
            sides=tuple(each.side() for each in (self._upstream, *self._retired)),
            held=len(self._held), held_bytes=self._held_bytes,
            oldest_held=clock.monotonic() - oldest.held_since if oldest is not None else 0.0,
            overflowed=metrics.overflowed, left=metrics.left, expired=metrics.expired, unsettled=metrics.unsettled,
            clients=len(self.clients),
        )  # fmt: skip

    def prometheus(self) -> str:
        """The metrics as text."""
        return self.metrics.text(self.counts(), log_lost=self.log.lost)

    async def hold(self, generation: int, ttl: float, holder: str) -> State:
        """Make writes wait from now on, under a lease of `ttl` seconds. Raises GateError."""
        async with self._control:
            before = self.state
            after = machine.hold(before, generation, holder)
            if not 0 < ttl <= self.limits.lease:
                raise GateError(f"a lease lasts more than 0 and at most {self.limits.lease:g} s", code="usage")
            # First in memory: not one write may pass once the caller is told that they are held.
            self.state, self._holding = after, True
            self._last = clock.monotonic() + self.limits.hold
            self._renew(clock.monotonic() + ttl)
            try:
                await self._store(after)
            except OSError as error:
                if self.state is after:
                    self._cancel_timer()
                    self.state = before
                    self._release_held()
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
            successor = Upstream(target, reuse=self.limits.reuse)
            try:
                successor.give(await asyncio.wait_for(successor.connect(), _PROBE))
            except (OSError, TimeoutError) as error:
                raise GateError(f"{target} does not accept connections: {error}", code="target") from error
            try:
                await self._commit(generation, successor)
            except GateError:
                successor.retire()
                raise
            return self.state

    async def _commit(self, generation: int, successor: Upstream) -> None:
        self._expire_if_due()
        after = machine.switch(
            self.state, generation, successor.address, writes=self._upstream.writes, at=clock.now().isoformat()
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
        old, self._upstream = self._upstream, successor
        old.retire()
        if old.reads or old.writes:
            self._retired.append(old)
        self._release_held()

    async def run_sweeper(self) -> None:
        """Cut off slow clients, notice held clients that left, and write the log; for ever."""
        turn = 0
        while True:
            await asyncio.sleep(0.1)
            turn += 1
            for exchange in [each for each in self._held if not each.client.present()]:
                exchange.client.transport.abort()
            if turn % 5 == 0:
                await self.log.flush()
            if turn % 10 == 0:
                self._sweep(clock.monotonic())

    async def close(self) -> None:
        """Let go of a hold and wait a moment for what is in flight, at the end of the process."""
        async with self._control:
            if self.state.phase is Phase.HOLDING:
                self._let_go()
        for client in list(self.clients):
            if client.exchange is None:
                client.transport.close()
            else:
                client.exchange.keep = False  # answered, then closed: nothing new is begun
        deadline = clock.monotonic() + 10.0
        while any(each.reads or each.writes for each in (self._upstream, *self._retired)):
            if clock.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        for client in list(self.clients):
            client.transport.close()
        self._upstream.retire()
        self._writer.shutdown()
        self.log.close()

    def _sweep(self, now: float) -> None:
        for client in [each for each in self.clients if each.deadline < now]:
            client.expire()
        for upstream in (self._upstream, *self._retired):
            upstream.trim()
            for connection in list(upstream.busy):
                exchange = connection.exchange
                if exchange is None or exchange.complete or not exchange.abandoned:
                    continue
                if now - exchange.abandoned > _ABANDONED:
                    connection.abort()

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
            self.metrics.expired += 1
            self._let_go()

    def _let_go(self) -> None:
        # Clients first: they wait. Should the record fail or the process die, a restart lets go once more.
        self._cancel_timer()
        self.state = machine.let_go(self.state)
        self._release_held()
        self._spawn(self._record(self.state))

    async def _record(self, after: State) -> None:
        with contextlib.suppress(OSError):
            await self._store(after)

    def _release_held(self) -> None:
        self._holding = False
        held, self._held = self._held, {}
        for exchange in held:
            self._waited(exchange)
            if exchange.client.present():
                self._dispatch(exchange)
            else:
                # Left, though the event loop has not heard of it yet: never send what nobody waits for.
                self.metrics.left += 1
                exchange.gone = True
                client = exchange.client
                self.finished(exchange)
                client.exchange = None
                client.transport.abort()

    async def _store(self, after: State) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, state.store, self.settings.state_file, after)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
