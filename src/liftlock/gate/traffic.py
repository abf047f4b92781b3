"""What passes the gate: its clients, the requests on their way, the writes that wait, and the servers behind it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Coroutine

from liftlock import clock
from liftlock.gate.connection import ClientConnection
from liftlock.gate.endpoints import Classifier, table
from liftlock.gate.exchange import Exchange
from liftlock.gate.head import Head, parse
from liftlock.gate.log import AccessLog, Line
from liftlock.gate.metrics import Metrics
from liftlock.gate.model import Address, Settings, Side
from liftlock.gate.queue import Queue
from liftlock.gate.sharing import Sharing
from liftlock.gate.upstream import Upstream, UpstreamConnection

_ABANDONED = 30.0
_CONNECT_PAUSE = 0.05
# Lines of the log are encoded and counted so many at once; more would make other requests wait.
_BATCH = 256


class Traffic:
    """Everything here runs in one event loop, so the counts are exact at every moment."""

    def __init__(self, settings: Settings, upstream: Address) -> None:
        self.limits = settings.limits
        self.classifier = Classifier(table(), static_prefix=settings.static_prefix)
        self.metrics = Metrics()
        self.log = AccessLog(settings.log, max_bytes=self.limits.log_bytes, files=self.limits.log_files)
        self.clients: set[ClientConnection] = set()
        self.idle: dict[ClientConnection, None] = {}
        self.upstream = Upstream(upstream, reuse=self.limits.reuse)
        self.sharing: Sharing | None = None
        self._retired: list[Upstream] = []
        self.queue = Queue(self.limits, self.metrics)
        self._holding = False
        self._lines: list[Line] = []
        self._tasks: set[asyncio.Task[None]] = set()
        # Wall-clock time is the monotonic one plus this: one clock call a request is enough.
        self._epoch = clock.now().timestamp() - clock.monotonic()
        # `read`, with a memory; for heads of up to REMEMBERED bytes.
        self.remembered = functools.lru_cache(maxsize=1024)(self.read)

    # Clients

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

    # Requests

    def read(self, raw: bytes, peer: bytes, scheme: bytes) -> tuple[Head, bool]:
        """What a request's head says, and whether the request may write. Raises Rejected."""
        head = parse(raw, peer, scheme)
        return head, not self.classifier.reads(head.method, head.path)

    def admit(self, exchange: Exchange, now: float) -> None:
        """Let a request pass, or make it wait."""
        if exchange.write:
            if self._holding:
                self._hold(exchange, now)
                return
            upstream = self.upstream
            upstream.writes += 1
        else:
            upstream = self.upstream
            if self.sharing is not None and self.sharing.takes():
                upstream = self.sharing.upstream
            upstream.reads += 1
        self._dispatch(exchange, upstream, now)

    def _dispatch(self, exchange: Exchange, upstream: Upstream, now: float) -> None:
        exchange.upstream = upstream
        connection = upstream.take(exchange.write, now)
        if connection is not None:
            connection.start(exchange)
        else:
            self._spawn(self._connect(exchange, upstream))

    def _hold(self, exchange: Exchange, now: float) -> None:
        if self.queue.put(exchange, now):
            exchange.client.pause()
            return
        self.metrics.overflowed += 1
        # 429, not 503: every MLflow client resends any request on 429, but 3.18 fails a create_run on 503 at once.
        self._answer(exchange, 429, "writes are held for an upgrade and too many wait; try again")

    async def _connect(self, exchange: Exchange, upstream: Upstream) -> None:
        # A server that is just being restarted refuses for a moment. A client of its own would connect again; behind
        # the gate it would see an answer instead, which MLflow 3.18 does not resend for every call. So wait here.
        deadline = clock.monotonic() + self.limits.connect
        connection: UpstreamConnection | None = None
        waited = False
        while not exchange.gone and connection is None:
            try:
                connection = await asyncio.wait_for(upstream.connect(), max(0.1, deadline - clock.monotonic()))
            except (OSError, TimeoutError):
                if clock.monotonic() >= deadline:
                    break
                if upstream is not self.upstream and not exchange.write:
                    break
                if exchange.write and self._holding and not exchange.gone:
                    # Nothing of it was sent, so it is not in flight: it waits with those that came later.
                    upstream.writes -= 1
                    exchange.upstream = None
                    self._hold(exchange, clock.monotonic())
                    return
                await asyncio.sleep(_CONNECT_PAUSE)
                waited = True
            if connection is not None and connection.closing:
                connection = None
        if exchange.gone:
            if connection is not None:
                upstream.give(connection)
            self.finished(exchange)
        elif waited and not exchange.client.present():
            if connection is not None:
                upstream.give(connection)
            self._departed(exchange)
        elif connection is not None:
            connection.start(exchange)
        elif upstream is not self.upstream and not exchange.write:
            if self.sharing is not None and self.sharing.upstream is upstream:
                self.sharing.count(upstream, 0)
            upstream.reads -= 1
            self.upstream.reads += 1
            self._dispatch(exchange, self.upstream, clock.monotonic())
        else:
            self._answer(exchange, 503, f"no connection to the server at {upstream.address}")

    def retry(self, exchange: Exchange) -> bool:
        """Send a read again whose kept connection turned out to be closed; False when that is not possible."""
        if exchange.write or exchange.retried or exchange.gone or not exchange.pending or exchange.upstream is None:
            return False
        exchange.retried = True
        exchange.upstream.reads -= 1
        exchange.connection = None
        exchange.upstream = self.upstream
        self.upstream.reads += 1
        self._spawn(self._connect(exchange, self.upstream))
        return True

    def finished(self, exchange: Exchange) -> None:
        """An exchange is over: count, log, and let the client go on."""
        upstream = exchange.upstream
        exchange.connection = None
        if upstream is not None:
            if exchange.write:
                upstream.writes -= 1
            else:
                upstream.reads -= 1
                if self.sharing is not None:
                    self.sharing.count(upstream, exchange.status or 499)
            if upstream.retired and not upstream.reads and not upstream.writes:
                with contextlib.suppress(ValueError):
                    self._retired.remove(upstream)
        now = clock.monotonic()
        started, client = exchange.started, exchange.client
        verb, path, agent, version = exchange.head.line
        self._lines.append(
            Line(
                int((self._epoch + started) * 1000), client.name, verb, path, agent, version, not exchange.write,
                exchange.status or 499, int((now - started) * 1e6), int(exchange.held * 1e6),
                upstream.name if upstream is not None else "",
            )
        )  # fmt: skip
        if len(self._lines) >= _BATCH:
            self.settle()
        client.answered(exchange, now)

    def failed(self, exchange: Exchange, why: str) -> None:
        """The upstream broke off. A write may have been done or not: nobody knows, and the client is told 502."""
        if exchange.write:
            self.metrics.unsettled += 1
        self._answer(exchange, 502, why)

    def abandon(self, exchange: Exchange) -> None:
        """The client left: drop what waits; cut off a read; let a write that was sent completely come to its end."""
        exchange.gone = clock.monotonic()
        connection = exchange.connection
        if self.queue.remove(exchange):
            self.metrics.left += 1
            self.finished(exchange)
        elif exchange.upstream is None:
            self.finished(exchange)  # its body was still being gathered
        elif connection is None:
            return  # being connected for: `_connect` sees that nobody waits
        elif exchange.write:
            connection.go_on_reading()
            if not exchange.complete:
                connection.finish_sending()
        else:
            connection.abort()

    def broken(self, exchange: Exchange, why: str) -> None:
        """The body is malformed: nothing more of it is sent on, and the server is cut off."""
        client = exchange.client
        self.metrics.rejected += 1
        answered = exchange.answered
        exchange.status = 400
        exchange.gone = clock.monotonic()
        client.exchange = None
        if exchange.connection is not None:
            exchange.connection.abort()  # its end finishes the exchange
        elif self.queue.remove(exchange) or exchange.upstream is None:
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
        self._lines.append(Line(at, client.name, "", "", "", "", False, status, 0))

    def _answer(self, exchange: Exchange, status: int, reason: str) -> None:
        if exchange.gone:
            exchange.status = exchange.status or 499
        else:
            exchange.client.respond(exchange, status, reason)
        self.finished(exchange)

    def settle(self) -> None:
        """Bring metrics and log up to date."""
        lines, self._lines = self._lines, []
        self.metrics.add(lines)
        self.log.add(lines)

    # Holding and moving

    def hold(self) -> None:
        """Make writes wait from now on."""
        self._holding = True

    def release(self) -> None:
        """Send what waits to the upstream of this moment."""
        self._holding = False
        for exchange in self.queue.clear():
            if exchange.client.present():
                self.admit(exchange, clock.monotonic())
            else:
                self._departed(exchange)

    def _departed(self, exchange: Exchange) -> None:
        """The client left, though the event loop has not heard of it yet: never send what nobody waits for."""
        self.metrics.left += 1
        exchange.gone = clock.monotonic()
        client = exchange.client
        self.finished(exchange)
        client.exchange = None
        client.transport.abort()

    def move(self, successor: Upstream) -> None:
        """All traffic goes to another upstream from now on."""
        old, self.upstream = self.upstream, successor
        self._retire(old)
        self.share(None)

    def share(self, sharing: Sharing | None) -> None:
        """Send some of the reads to a second server from now on, or to none."""
        old, self.sharing = self.sharing, sharing
        if old is not None and (sharing is None or sharing.upstream is not old.upstream):
            self._retire(old.upstream)

    def _retire(self, upstream: Upstream) -> None:
        upstream.retire()
        if upstream.reads or upstream.writes:
            self._retired.append(upstream)

    def _upstreams(self) -> tuple[Upstream, ...]:
        second = () if self.sharing is None else (self.sharing.upstream,)
        return (self.upstream, *second, *self._retired)

    def sides(self) -> tuple[Side, ...]:
        """The upstream, one that shares its reads, and those of earlier generations that still answer something."""
        return tuple(each.side() for each in self._upstreams())

    # Housekeeping

    def drop_departed(self) -> None:
        """Let go of held writes whose clients left."""
        for exchange in [each for each in self.queue if not each.client.present()]:
            exchange.client.transport.abort()

    def sweep(self, now: float) -> None:
        """Cut off slow clients, close connections idle for too long, give up writes that nobody completes."""
        for client in [each for each in self.clients if each.deadline < now]:
            client.expire()
        for upstream in self._upstreams():
            upstream.trim()
            for connection in list(upstream.connections):
                exchange = connection.exchange
                if exchange is None or exchange.complete or not exchange.gone:
                    continue
                if now - exchange.gone > _ABANDONED:
                    connection.abort()

    async def close(self) -> None:
        """Wait a moment for what is in flight, at the end of the process."""
        for client in list(self.clients):
            if client.exchange is None:
                client.transport.close()
            else:
                client.exchange.keep = False  # answered, then closed: nothing new is begun
        deadline = clock.monotonic() + 10.0
        while any(each.reads or each.writes for each in self._upstreams()):
            if clock.monotonic() > deadline:
                break
            await asyncio.sleep(0.02)
        for client in list(self.clients):
            client.transport.close()
        self.share(None)
        self.upstream.retire()
        self.settle()
        self.log.close()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
