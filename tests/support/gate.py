"""A gate as a real process, an upstream that records what reaches it, and raw HTTP over real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import msgspec

from liftlock.gate.client import GateClient
from liftlock.gate.model import Address, Limits, Settings
from liftlock.model.codec import to_json
from liftlock.releases.proof import free_port

LOG_METRIC = "/api/2.0/mlflow/runs/log-metric"
SEARCH = "/api/2.0/mlflow/runs/search"
GET_RUN = "/api/2.0/mlflow/runs/get"
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Received:
    """One request as the upstream understood it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float


@dataclass
class Recorder:
    """A threaded HTTP/1.1 server with a parser of its own. `delay`: seconds before an answer to a write.

    `GET /static-files/bytes/N` answers N bytes, chunked when the path ends with /c; big bodies are counted only.
    """

    name: str
    delay: float = 0.0
    keep_bodies: bool = True
    close_each: bool = False
    received: list[Received] = field(default_factory=list)
    broken: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.address = Address(host="127.0.0.1", port=self._server.getsockname()[1])
        self._open: set[socket.socket] = set()
        self.active_writes = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes `accept`, which would keep the port
        self._server.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def bodies(self) -> list[str]:
        """Bodies of all writes."""
        with self._lock:
            return [each.body.decode() for each in self.received if each.target == LOG_METRIC]

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        self._open.add(sock)
        file = sock.makefile("rb")
        try:
            while self._one(sock, file, number) and not self.close_each:
                pass
        except (OSError, ValueError):
            pass
        finally:
            self._open.discard(sock)
            file.close()
            sock.close()

    def _one(self, sock: socket.socket, file: BinaryIO, number: int) -> bool:
        first = file.readline(70_000)
        if not first:
            return False
        raw = first
        try:
            method, target, version = first.decode("latin-1").removesuffix("\r\n").split(" ")
            headers: dict[str, str] = {}
            while (line := file.readline(70_000)) != b"\r\n":
                raw += line
                name, separator, value = line.decode("latin-1").partition(":")
                if not separator or not line.endswith(b"\r\n") or name != name.strip():
                    raise ValueError("malformed header")
                key = name.lower()
                if key in ("content-length", "transfer-encoding", "host") and key in headers:
                    raise ValueError("repeated framing header")
                headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
            if "content-length" in headers and "transfer-encoding" in headers:
                raise ValueError("two framings")
        except ValueError:
            with self._lock:
                self.broken.append(raw)
            raise
        write = method != "GET" and target.split("?")[0] != SEARCH
        body = self._body(file, headers)
        if body is None:
            return False
        with self._lock:
            self.received.append(Received(method, target, headers, body, number, time.monotonic()))
            self.active_writes += write
        if write and self.delay:
            time.sleep(self.delay)
        with self._lock:
            self.active_writes -= write
        self._answer(sock, method, target)
        return version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"

    def _body(self, file: BinaryIO, headers: dict[str, str]) -> bytes | None:
        parts: list[bytes] = []
        total = 0

        def take(left: int) -> bool:
            nonlocal total
            while left:
                piece = file.read(min(left, 1 << 20))
                if not piece:
                    return False
                left -= len(piece)
                total += len(piece)
                if self.keep_bodies:
                    parts.append(piece)
            return True

        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(file.readline().split(b";")[0], 16)
                if size == 0:
                    if file.readline() != b"\r\n":
                        raise ValueError("trailer")
                    break
                if not take(size) or file.read(2) != b"\r\n":
                    return None
        elif not take(int(headers.get("content-length", "0"))):
            return None
        return b"".join(parts) if self.keep_bodies else str(total).encode()

    def _answer(self, sock: socket.socket, method: str, target: str) -> None:
        close = "Connection: close\r\n" if self.close_each else ""
        if target.startswith("/static-files/bytes/"):
            size = int(target.split("/")[3])
            chunked = target.endswith("/c")
            framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
            sock.sendall(f"HTTP/1.1 200 OK\r\n{framing}\r\n{close}\r\n".encode())
            block = b"z" * 65_536
            while size:
                step = min(size, len(block))
                sock.sendall(b"%x\r\n%b\r\n" % (step, block[:step]) if chunked else block[:step])
                size -= step
            if chunked:
                sock.sendall(b"0\r\n\r\n")
            return
        body = b"" if method == "HEAD" else self.name.encode()
        sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(self.name)}\r\n{close}\r\n".encode() + body)


@dataclass
class GateProcess:
    """A running gate."""

    settings: Settings
    child: subprocess.Popen[bytes]

    @property
    def port(self) -> int:
        return self.settings.listen.port

    def client(self) -> GateClient:
        return GateClient(self.settings.socket)

    def kill(self) -> None:
        """kill -9, as a crash would."""
        self.child.kill()
        self.child.wait()

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def settings(directory: Path, upstream: Address, **limits: float) -> Settings:
    """Settings of a gate on a free port. `limits` are fields of Limits."""
    return Settings(
        listen=Address(host="127.0.0.1", port=free_port()),
        upstream=upstream,
        directory=directory,
        limits=msgspec.convert(limits, Limits),
    )


def start(chosen: Settings, *, seeded: str = "", env: dict[str, str] | None = None) -> GateProcess:
    """Start a gate and wait until it listens. `seeded` is code that breaks it on purpose."""
    argv = [sys.executable, "-m", "tests.support.gate_main", to_json(chosen), *([seeded] if seeded else [])]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, env={**os.environ, **(env or {})})
    assert child.stdout is not None
    if child.stdout.readline() != b"ready\n":
        raise RuntimeError("the gate did not start")  # no AssertionError: a seeded bug is not caught by this
    return GateProcess(chosen, child)


@contextlib.contextmanager
def running(directory: Path, upstream: Address, *, seeded: str = "", **limits: float) -> Iterator[GateProcess]:
    """A gate for the duration of a block."""
    gate = start(settings(directory / "gate", upstream, **limits), seeded=seeded)
    try:
        yield gate
    finally:
        with contextlib.suppress(ProcessLookupError):
            gate.child.send_signal(signal.SIGCONT)
        gate.kill()


@contextlib.contextmanager
def recorded(directory: Path) -> Iterator[tuple[GateProcess, Recorder]]:
    """A gate and the server behind it."""
    with Recorder("up") as up, running(directory, up.address) as gate:
        yield gate, up


def head(*lines: str) -> bytes:
    """The head of a POST to /x."""
    return "\r\n".join(["POST /x HTTP/1.1", "Host: g", *lines, "", ""]).encode("latin-1")


class Raw:
    """A client that sends bytes as they are."""

    def __init__(self, port: int, *, timeout: float = 15.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def reset(self) -> None:
        """Leave with a reset instead of a farewell."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def post(self, body: str, *, path: str = LOG_METRIC, headers: str = "") -> None:
        """Send a POST."""
        raw = body.encode()
        self.send(f"POST {path} HTTP/1.1\r\nHost: g\r\n{headers}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of one answer; ConnectionError when there is none."""
        first = self.file.readline()
        if not first:
            raise ConnectionError("closed without an answer")
        status = int(first.split(b" ")[1])
        headers: dict[str, str] = {}
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, self.file.read(int(headers.get("content-length", "0")))

    def closed(self) -> bool:
        """Whether the gate ends the connection without another byte."""
        try:
            return self.file.read(1) == b""
        except ConnectionResetError:
            return True


def until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.01)
