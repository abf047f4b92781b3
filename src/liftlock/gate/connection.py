"""A client's connection: requests read one after the other, bodies streamed, answers passed back in order."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

from liftlock import clock
from liftlock.gate.answers import message
from liftlock.gate.chunks import BadChunk, Chunks
from liftlock.gate.exchange import Exchange
from liftlock.gate.head import CHUNKED, REMEMBERED, Rejected

if TYPE_CHECKING:
    from liftlock.gate.traffic import Traffic

# How much of a body, or of requests sent ahead, is kept while it cannot be sent on.
_AHEAD = 65_536
# Up to this size a body is sent on when it is complete. Clients send head and body apart: this is one message to the
# server instead of two, and a client that trickles neither occupies the server nor keeps a drain waiting.
_GATHERED = 16_384
_LINGER = 2.0
_NEVER = float("inf")
_TCP_ESTABLISHED = 1


class ClientConnection(asyncio.Protocol):
    """One client. `deadline` is the moment (monotonic seconds) at which it is cut off unless it acts."""

    __slots__ = (
        "_body_deadline", "_buffer", "_choked", "_chunks", "_gathering", "_left", "_looping", "_scanned", "closing",
        "deadline", "exchange", "gate", "name", "paused", "peer", "scheme", "transport",
    )  # fmt: skip

    def __init__(self, gate: Traffic, *, tls: bool) -> None:
        self.gate = gate
        self.scheme = b"https" if tls else b"http"
        self.transport: asyncio.Transport
        self.name = ""
        self.peer = b""
        self.exchange: Exchange | None = None
        self.deadline = _NEVER
        self.closing = False
        self.paused = False
        self._buffer = b""
        self._scanned = 0
        self._left = 0
        self._chunks: Chunks | None = None
        self._choked = False
        self._gathering = False
        self._looping = False
        self._body_deadline = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the client in, unless the gate is full."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.name = peer[0] if peer else "unknown"
        self.peer = self.name.encode()
        if not self.gate.enter(self):
            self.closing = True
            self.transport.write(message(503, "it serves as many connections as it may", keep=False))
            self.transport.close()
            return
        self._after(clock.monotonic())

    def data_received(self, data: bytes) -> None:
        """A part of a request: of the body that is being sent on, or of what comes next."""
        if self.closing:
            return
        exchange = self.exchange
        if exchange is not None and not exchange.complete:
            self._body(exchange, data)
            return
        self._buffer = self._buffer + data if self._buffer else data
        if exchange is None and not self._choked:
            self._next()
        elif len(self._buffer) > _AHEAD:
            self.pause()

    def eof_received(self) -> bool:
        """The client sends no more. It may still wait for its answer; while held, it counts as gone."""
        exchange = self.exchange
        if exchange is None or not exchange.complete or exchange in self.gate.queue:
            return False
        exchange.keep = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and with it what it asked for, as far as that is still ours to stop."""
        del exc
        self.closing = True
        self.gate.leave(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.gate.abandon(exchange)

    def pause_writing(self) -> None:
        """The client takes its answer more slowly than it comes."""
        self._choked = True
        self.deadline = clock.monotonic() + self.gate.limits.stall
        if self.exchange is not None and self.exchange.connection is not None:
            self.exchange.connection.stop_reading()

    def resume_writing(self) -> None:
        """Go on reading the answer, or with the next request."""
        self._choked = False
        self.deadline = _NEVER
        if self.exchange is None:
            self._after(clock.monotonic())
        elif self.exchange.connection is not None:
            self.exchange.connection.go_on_reading()

    def pause(self) -> None:
        """Read no more from the client for now."""
        if not self.paused and not self.closing:
            self.paused = True
            self.transport.pause_reading()
            exchange = self.exchange
            if exchange is not None and not exchange.complete:
                self.deadline = _NEVER  # not the client's fault

    def resume(self) -> None:
        """Read from the client again."""
        if self.paused and not self.closing:
            self.paused = False
            self.transport.resume_reading()
            exchange = self.exchange
            if exchange is not None and not exchange.complete:
                self._body_deadline = clock.monotonic() + self.gate.limits.body_grace
                self.deadline = self._body_deadline

    def present(self) -> bool:
        """Whether the client is still there, asked of the kernel: data may lie unread before its farewell."""
        if self.closing:
            return False
        sock = self.transport.get_extra_info("socket")
        return sock is None or _established(cast("socket.socket", sock))

    def buffered(self) -> int:
        """Bytes sent ahead and kept."""
        return len(self._buffer)

    def pass_on(self, exchange: Exchange, data: bytes) -> None:
        """Pass a part of the answer to the client."""
        if not exchange.gone and not self.closing:
            self.transport.write(data)

    def answered(self, exchange: Exchange, now: float) -> None:
        """The answer is complete: the next request, or the end of the connection."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        if self.closing:
            return
        if not exchange.keep:
            self._end(linger=not exchange.complete)
        elif not self._choked:
            self._after(now)

    def respond(self, exchange: Exchange, status: int, reason: str) -> None:
        """Answer a request that was not, or not successfully, sent on."""
        exchange.status = status
        if exchange.answered:
            self.closing = True
            self.transport.abort()  # half an answer cannot be taken back
            return
        exchange.answered = True
        keep = exchange.keep = exchange.keep and exchange.complete
        self.pass_on(exchange, message(status, reason, keep=keep, bodiless=exchange.head.method == b"HEAD"))

    def refuse(self, status: int, reason: str) -> None:
        """Answer what is no request, and end the connection: what follows on it has no clear beginning."""
        if not self.closing:
            self.transport.write(message(status, reason, keep=False))
            self._end(linger=True)

    def expire(self) -> None:
        """The deadline has passed: say so where that makes sense, and let go."""
        exchange = self.exchange
        if self.closing or (exchange is not None and exchange.answered):
            self.transport.abort()
        elif exchange is not None:
            self.gate.slow(exchange)
            self.closing = True
            self.transport.write(message(408, "the request's body did not arrive in time", keep=False))
            self.transport.close()
        elif self._choked:
            self.transport.abort()
        elif self._buffer:
            self.gate.metrics.timed_out += 1
            self.refuse(408, "the request did not arrive in time")
        else:
            self.transport.close()

    def _after(self, now: float) -> None:
        if self.paused:
            self.resume()
        if self._buffer:
            self.deadline = now + self.gate.limits.head
            self._next()
        else:
            self.deadline = now + self.gate.limits.idle
            self.gate.idle[self] = None

    def _end(self, *, linger: bool) -> None:
        self.closing = True
        self._buffer = b""
        if linger and self.transport.can_write_eof():
            # Closing with unread data would reset the connection and could take the answer back.
            self.transport.write_eof()
            if self.paused:
                self.transport.resume_reading()
            self.deadline = clock.monotonic() + _LINGER
        else:
            self.transport.close()

    def _next(self) -> None:
        """Take requests out of the buffer, one after the other while each is answered at once."""
        if self._looping:
            return
        self._looping = True
        try:
            while self._one():
                pass
        finally:
            self._looping = False

    def _one(self) -> bool:
        """Take one request out of the buffer; whether the next one can be taken now."""
        gate, data = self.gate, self._buffer
        end = data.find(b"\r\n\r\n", self._scanned - 3 if self._scanned > 3 else 0) + 4
        if end < 4 or end > gate.limits.head_bytes:
            self._partial(data, too_long=end >= 4)
            return False
        self._scanned = 0
        gate.idle.pop(self, None)
        try:
            # A client in a loop sends the same head again and again.
            read = gate.remembered if end <= REMEMBERED else gate.read
            head, write = read(data[:end], self.peer, self.scheme)
        except Rejected as rejected:
            gate.rejected(self, rejected.status)
            self.refuse(rejected.status, rejected.reason)
            return False
        self._buffer = b""
        whole = len(data) == end + head.length
        pending = head.forward + data[end:] if whole else head.forward
        exchange = Exchange(self, head, write, clock.monotonic(), pending, head.keep, whole)
        self.exchange = exchange
        if whole:
            self.deadline = _NEVER
            gate.admit(exchange, exchange.started)
        else:
            self._left = head.length
            self._chunks = Chunks() if head.length == CHUNKED else None
            self._gathering = gathering = 0 < head.length <= _GATHERED and not head.expects
            self._body_deadline = exchange.started + gate.limits.body_grace
            if not self._body(exchange, data[end:]):
                return False
            if not gathering:
                gate.admit(exchange, exchange.started)
        answered = self.exchange is not exchange
        return answered and self._buffer != b"" and not self.closing and not self._choked

    def _partial(self, data: bytes, *, too_long: bool) -> None:
        if too_long or len(data) >= self.gate.limits.head_bytes:
            self.gate.rejected(self, 431)
            self.refuse(431, "the request head is too long")
        elif data.count(b"\n", self._scanned) != data.count(b"\r\n", max(0, self._scanned - 1)):
            self.gate.rejected(self, 400)
            self.refuse(400, "malformed request head: a bare line feed")
        else:
            if not self._scanned:
                self.gate.idle.pop(self, None)
                self.deadline = clock.monotonic() + self.gate.limits.head
            self._scanned = len(data)

    def _body(self, exchange: Exchange, data: bytes) -> bool:
        """Send a part of the body on; False when it is malformed and the connection was ended."""
        # A minimum rate over the whole body: a client that trickles bytes would keep a drain waiting for ever.
        self._body_deadline += len(data) / self.gate.limits.body_rate
        self.deadline = self._body_deadline
        if self._chunks is not None:
            try:
                data, rest = self._chunks.feed(data)
            except BadChunk as error:
                self.gate.broken(exchange, str(error))
                return False
            exchange.complete = self._chunks.done
        else:
            rest = b""
            if len(data) > self._left:
                data, rest = data[: self._left], data[self._left :]
            self._left -= len(data)
            exchange.complete = self._left == 0
        if exchange.complete:
            self._buffer = rest
            self.deadline = _NEVER
        if data:
            exchange.send(data)
            if exchange.connection is None and len(exchange.pending) > _AHEAD and not self._gathering:
                self.pause()
        if self._gathering and exchange.complete:
            self._gathering = False
            self.gate.admit(exchange, clock.monotonic())
        return True


def _established(sock: socket.socket) -> bool:
    """Whether the kernel holds both directions of a TCP connection open; false as soon as the peer's FIN arrived."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_ESTABLISHED
    except OSError:
        return False
