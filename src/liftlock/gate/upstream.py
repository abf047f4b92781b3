"""The way to an upstream: its connections, kept for reuse, and the exact number of requests in flight on it."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
from typing import TYPE_CHECKING, cast

from liftlock import clock
from liftlock.gate import response
from liftlock.gate.chunks import BadChunk, Chunks
from liftlock.gate.model import Address, Side

if TYPE_CHECKING:
    from liftlock.gate.exchange import Exchange

_HEAD_MAX = 65_536
# An answer of up to this size is passed on when it is complete: one message to the client, and a server that breaks
# off half-way makes for a 502 instead of half an answer.
_GATHERED = 16_384


class Upstream:
    """One server behind the gate. `reads` and `writes` are in flight: sent, or being connected for, not yet answered.

    A retired upstream gets no new request; its connections are closed instead of being kept.
    """

    def __init__(self, address: Address, *, reuse: float) -> None:
        self.address = address
        self.name = str(address)
        self.reads = 0
        self.writes = 0
        self.retired = False
        self.connections: set[UpstreamConnection] = set()
        self._reuse = reuse
        self._idle: list[UpstreamConnection] = []

    def side(self) -> Side:
        """Its counts as a value."""
        return Side(address=self.address, reads=self.reads, writes=self.writes)

    def take(self, write: bool, now: float) -> UpstreamConnection | None:
        """A connection that is surely open still, the one used last; None when there is none."""
        while self._idle:
            connection = self._idle.pop()
            fresh = now - connection.idle_since < self._reuse and not connection.closing
            # A write must not meet a connection that is being closed: nobody could tell whether it was done.
            if fresh and not (write and connection.stirred(0)):
                return connection
            connection.close()
        return None

    def give(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose answer is complete."""
        if self.retired:
            connection.close()
            return
        connection.idle_since = clock.monotonic()
        self._idle.append(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection was lost."""
        self.connections.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)

    def trim(self) -> None:
        """Close connections idle for too long."""
        now = clock.monotonic()
        idle, self._idle = self._idle, []
        for each in idle:
            if now - each.idle_since < self._reuse and not each.closing:
                self._idle.append(each)
            else:
                each.close()

    def retire(self) -> None:
        """No new request goes here: close what is idle; what is busy closes after its answer."""
        self.retired = True
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    async def connect(self) -> UpstreamConnection:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        family, kind, number, _, address = found[0]
        sock = socket.socket(family, kind, number)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            _, connection = await loop.create_connection(lambda: UpstreamConnection(self, sock), sock=sock)
        except BaseException:
            sock.close()
            raise
        return connection


class UpstreamConnection(asyncio.Protocol):
    """One connection to an upstream: one request at a time, its answer passed to the client as it comes."""

    __slots__ = (
        "_answer", "_buffer", "_chunks", "_kept", "_left", "_paused", "_socket", "_upstream", "closing",
        "exchange", "idle_since", "stirred", "transport", "used",
    )  # fmt: skip

    def __init__(self, upstream: Upstream, sock: socket.socket) -> None:
        self._upstream = upstream
        self._socket = sock
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        # Given 0: what has arrived that the event loop has not read yet. The server's farewell, most likely.
        self.stirred = poll.poll
        self.transport: asyncio.Transport
        self.exchange: Exchange | None = None
        self.idle_since = 0.0
        self.used = False
        self.closing = False
        self._paused = False
        self._buffer = b""
        self._kept = b""
        self._answer: response.Answer | None = None
        self._chunks: Chunks | None = None
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self._upstream.connections.add(self)

    def start(self, exchange: Exchange) -> None:
        """Send what there is of a request; from here on the upstream knows of it."""
        self.exchange = exchange
        exchange.connection = self
        # The loop sends for all connections together: fewer wake-ups of the server.
        self.transport.write(exchange.pending)
        if exchange.write or not exchange.complete:
            exchange.pending = b""
        client = exchange.client
        if client.paused:
            client.resume()

    def send(self, data: bytes) -> None:
        """Send a further part of the request."""
        if not self.closing:
            self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Frame the answer and pass it on."""
        exchange = self.exchange
        if exchange is None:
            self.abort()  # nothing was asked
            return
        try:
            if self._answer is None:
                self._head(exchange, data)
            else:
                self._body(exchange, self._answer, data)
        except (response.BadAnswer, BadChunk) as error:
            self.exchange = None
            self.abort()
            exchange.client.gate.failed(exchange, f"the server's answer is not HTTP: {error}")
            return
        if self.exchange is not None:
            # More is to come. uvicorn with several workers sends an answer's head and body in two segments without
            # TCP_NODELAY and waits for our acknowledgement of the first: 44 ms, unless the kernel is told to send it
            # now, which it forgets each time.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _head(self, exchange: Exchange, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(b"\r\n\r\n") + 4
            if end < 4:
                if len(data) > _HEAD_MAX:
                    raise response.BadAnswer("endless head")
                self._buffer = data
                return
            answer = response.parse(data[:end], exchange.head.method == b"HEAD")
            if answer.status >= 200:
                break
            if answer.status == 101:
                raise response.BadAnswer("it changed the protocol unasked")
            exchange.client.pass_on(exchange, answer.raw)
            data = data[end:]
        self._answer = answer
        exchange.status = answer.status
        raw = answer.raw
        if not (answer.delimited and exchange.complete and exchange.keep):
            exchange.keep = False
            raw = raw[:-2] + b"Connection: close\r\n\r\n"
        if len(data) == end + answer.length:
            exchange.answered = True
            exchange.client.pass_on(exchange, raw + data[end:])
            self._complete(exchange, clean=True)
            return
        self._kept = raw
        self._left = answer.length
        if answer.length == response.CHUNKED:
            self._chunks = Chunks()
        self._body(exchange, answer, data[end:])

    def _body(self, exchange: Exchange, answer: response.Answer, data: bytes) -> None:
        rest, done = b"", False
        if self._chunks is not None:
            data, rest = self._chunks.feed(data)
            done = self._chunks.done
        elif answer.length != response.UNTIL_CLOSE:
            if len(data) > self._left:
                data, rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            done = self._left == 0
        data, self._kept = self._kept + data, b""
        if not done and 0 <= answer.length <= _GATHERED:
            self._kept = data
        elif data:
            exchange.answered = True
            exchange.client.pass_on(exchange, data)
        if done:
            self._complete(exchange, clean=not rest)

    def _complete(self, exchange: Exchange, *, clean: bool) -> None:
        """The answer is complete; `clean`: the server sent nothing after it."""
        answer, self._answer, self._chunks = self._answer, None, None
        assert answer is not None
        self.exchange = None
        self.used = True
        if self._paused:
            self.go_on_reading()
        if answer.keep and clean and exchange.complete and not exchange.head.one_zero and not self.closing:
            self._upstream.give(self)
        elif exchange.complete:
            self.close()
        else:
            self.abort()
        exchange.client.gate.finished(exchange)

    def eof_received(self) -> bool:
        """The server closes: nothing of ours is kept open for it."""
        self.closing = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """An answer may end with the connection; otherwise a request in flight has failed."""
        del exc
        self.closing = True
        self._upstream.forget(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        gate = exchange.client.gate
        if self._answer is not None and self._answer.length == response.UNTIL_CLOSE:
            gate.finished(exchange)
        elif self.used and not exchange.answered and gate.retry(exchange):
            return
        else:
            gate.failed(exchange, "the server closed the connection before its answer was complete")

    def pause_writing(self) -> None:
        """The server takes the body more slowly than the client sends it."""
        if self.exchange is not None:
            self.exchange.client.pause()

    def resume_writing(self) -> None:
        """Go on reading from the client."""
        if self.exchange is not None:
            self.exchange.client.resume()

    def stop_reading(self) -> None:
        """Let the answer wait: the client is slow."""
        if not self._paused and not self.closing:
            self._paused = True
            self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Take more of the answer."""
        if self._paused:
            self._paused = False
            if not self.closing:
                self.transport.resume_reading()

    def close(self) -> None:
        """End the connection in good order."""
        self.closing = True
        self.transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self.closing = True
        self.transport.abort()

    def finish_sending(self) -> None:
        """Tell the server that no more of the request comes."""
        if not self.closing and self.transport.can_write_eof():
            self.transport.write_eof()
