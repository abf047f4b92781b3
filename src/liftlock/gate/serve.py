"""The gate's process: one event loop, one listening port, one directory that only one gate may use."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import uvloop
from msgspec.structs import replace

from liftlock.effects import side_effect
from liftlock.errors import UsageError
from liftlock.files import PRIVATE_FILE, private_directory
from liftlock.gate import common_port, machine, state
from liftlock.gate.connection import ClientConnection
from liftlock.gate.control import Control
from liftlock.gate.core import Gate
from liftlock.gate.model import Address, GateError, Settings

_BACKLOG = 4096
# Seconds for requests on connections that were made just before the port was given back.
_FAREWELL = 0.3
# Descriptors for everything but clients and their upstream connections.
_RESERVE = 64


def run(settings: Settings, *, ready: Callable[[Address, Address], None]) -> None:
    """Serve until SIGTERM or SIGINT. `ready` is called with the listening address and the live upstream.

    The state file decides the upstream; `settings.upstream` counts only for a gate that never ran. Raises GateError
    when another gate uses the directory or the state is damaged, UsageError when the port or the certificate is of
    no use.
    """
    private_directory(settings.directory)
    with _lock(settings.directory / "lock"):
        known = state.load(settings.state_file)
        current = machine.first(settings.upstream) if known is None else machine.recovered(known)
        if current != known:
            state.store(settings.state_file, current)
        # What a request leaves behind is freed by reference counts; cycles are rare, and looking for them costs time.
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        uvloop.run(_serve(Gate(_bounded(settings), current), ready))


async def _serve(gate: Gate, ready: Callable[[Address, Address], None]) -> None:
    settings = gate.settings
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    tls = _tls(settings)

    def client() -> ClientConnection:
        return ClientConnection(gate.traffic, tls=tls is not None)

    sock = _bound(settings.listen, settings.beside)
    with side_effect("gate listen"):
        # Kept by name: uvloop closes a server that nobody refers to.
        server = await loop.create_server(
            client, sock=sock, backlog=_BACKLOG, ssl=tls, ssl_handshake_timeout=10.0 if tls else None
        )
    if settings.beside is not None:
        common_port.take_all(sock)
    address = Address(host=settings.listen.host, port=sock.getsockname()[1])
    control = Control(gate, address)
    await control.open()
    sweeper = loop.create_task(gate.run_sweeper())
    ready(address, gate.state.upstream)
    try:
        await stop.wait()
        if settings.beside is not None:
            common_port.give_all(sock)
            await asyncio.sleep(_FAREWELL)
    finally:
        server.close()
        sweeper.cancel()
        await control.close()
        await gate.close()


def _bound(address: Address, beside: int | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if beside is not None:
            common_port.join(sock, beside)
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        raise UsageError(f"the gate cannot listen on {address}: {error.strerror}") from error
    return sock


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(settings.certificate, settings.key)
    except (OSError, ssl.SSLError) as error:
        raise UsageError(f"the certificate {settings.certificate} cannot be used: {error}") from error
    return context


def _bounded(settings: Settings) -> Settings:
    """Fewer connections where the process may not open enough files: two for each client."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    most = settings.limits.connections if soft == resource.RLIM_INFINITY else max(1, (soft - _RESERVE) // 2)
    if most >= settings.limits.connections:
        return settings
    return replace(settings, limits=replace(settings.limits, connections=most))


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise GateError(f"another gate uses {path.parent}", code="running") from None
        yield
    finally:
        os.close(descriptor)
