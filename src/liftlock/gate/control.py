"""The control socket: local, for its owner (and root) alone; never a part of the public port."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct

import msgspec

from liftlock.files import PRIVATE_FILE
from liftlock.gate.address import fitting
from liftlock.gate.core import Gate
from liftlock.gate.model import Address, GateError
from liftlock.gate.protocol import MAX_LINE, Reply, Request
from liftlock.model.codec import from_json, to_json

_PEERS = 16
_IDLE = 60.0


class Control:
    """Serves the commands of one gate. `listen` is the public address, for the status."""

    def __init__(self, gate: Gate, listen: Address) -> None:
        self._gate = gate
        self._listen = str(listen)
        self._peers = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen. A socket file left by a dead gate is replaced; the caller holds the directory's lock."""
        path = self._gate.settings.socket
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX)
        with fitting(path) as name:
            sock.bind(name)  # nobody can connect before `listen`, so the narrower rights come in time
        path.chmod(PRIVATE_FILE)
        self._server = await asyncio.start_unix_server(self._serve, sock=sock, limit=MAX_LINE)

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._server is not None:
            self._server.close()
            self._gate.settings.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._peers += 1
        try:
            if self._peers <= _PEERS and _allowed(writer):
                await self._lines(reader, writer)
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            pass  # the peer left, idled, or sent no line
        finally:
            self._peers -= 1
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _lines(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await asyncio.wait_for(reader.readline(), _IDLE):
            if line.startswith(b"GET /metrics"):
                body = self._gate.prometheus().encode()
                writer.write(
                    b"HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )
                await writer.drain()
                return
            reply = await self._answer(line)
            writer.write(to_json(reply).encode() + b"\n")
            await writer.drain()

    async def _answer(self, line: bytes) -> Reply:
        gate = self._gate
        try:
            request = from_json(line, Request)
        except (ValueError, msgspec.MsgspecError) as error:
            return self._reply(code="usage", message=f"not a command: {error}")
        try:
            return await self._do(request)
        except GateError as error:
            return Reply(
                ok=False, state=gate.state, code=error.code, message=error.message, hint=error.hint,
                retryable=error.retryable, counts=gate.counts(),
            )  # fmt: skip

    async def _do(self, request: Request) -> Reply:
        gate = self._gate
        if request.do == "hold":
            await gate.hold(request.generation, request.ttl, request.holder)
        elif request.do == "heartbeat":
            gate.heartbeat(request.generation, request.ttl)
        elif request.do == "release":
            await gate.release(request.generation)
        elif request.do == "switch":
            try:
                target = Address.parse(request.upstream)
            except ValueError as error:
                return self._reply(code="usage", message=str(error))
            await gate.switch(request.generation, target)
        elif request.do == "share":
            try:
                second = Address.parse(request.upstream) if request.upstream else None
            except ValueError as error:
                return self._reply(code="usage", message=str(error))
            await gate.share(second, request.percent)
        elif request.do == "metrics":
            return self._reply(text=gate.prometheus())
        elif request.do not in ("status", "counts"):
            return self._reply(code="usage", message=f"unknown command {request.do!r}")
        return self._reply()

    def _reply(self, *, code: str = "", message: str = "", text: str = "") -> Reply:
        gate = self._gate
        return Reply(
            ok=not code, state=gate.state, code=code, message=message, counts=gate.counts(), text=text,
            pid=os.getpid(), listen=self._listen,
        )  # fmt: skip


def _allowed(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer is us or root: the socket's rights say so already, but a directory may be too open."""
    sock = writer.get_extra_info("socket")
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    return user in (0, os.geteuid())
