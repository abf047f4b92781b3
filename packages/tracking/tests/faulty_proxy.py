"""A proxy between an application and its tracking server, with faults."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress


class Proxy:
    """A TCP proxy in front of a server whose `mode` is a fault, decided anew for every request.

    pass; 503; hang (takes the request, never answers); cut (drops it unsent); cut-after (the server does the
    work, the answer is thrown away); refuse (nobody listens).
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._mode = "pass"
        self._listener: socket.socket | None = None
        self.port = 0
        self.requests: Counter[str] = Counter()
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._open()

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode == "refuse":
            self._mode = mode
            self._shut()
        else:
            self._mode = mode
            if self._listener is None:
                self._open()

    def _open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _shut(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.drop()

    def drop(self) -> None:
        """Cut every connection."""
        with self._lock:
            live, self._live = self._live, set()
        for each in live:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Stop."""
        self._mode = "refuse"
        self._shut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._live.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            upstream: socket.socket | None = None
            try:
                while request := _message(client):
                    mode = self._mode
                    self.requests[mode] += 1
                    if mode in ("cut", "refuse"):
                        return
                    if mode == "503":
                        client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
                        continue
                    if mode == "hang":
                        while self._mode == "hang":
                            time.sleep(0.02)
                        return
                    upstream = upstream or socket.create_connection(("127.0.0.1", self.target), timeout=60)
                    upstream.sendall(request)
                    answer = _message(upstream, answer=True)
                    if mode == "cut-after" or self._mode in ("cut-after", "refuse"):
                        return
                    if not answer:
                        return
                    client.sendall(answer)
            finally:
                if upstream is not None:
                    upstream.close()
                with self._lock:
                    self._live.discard(client)


def _message(sock: socket.socket, *, answer: bool = False) -> bytes:
    """One whole HTTP message (Content-Length or chunked)."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        while not body.endswith(b"0\r\n\r\n"):
            part = sock.recv(65536)
            if not part:
                return b""
            body += part
    else:
        length = int(fields.get(b"content-length", b"0"))
        while len(body) < length:
            part = sock.recv(65536)
            if not part:
                return b""
            body += part
    return head + b"\r\n\r\n" + body


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """A proxy in front of a server's URL."""
    proxy = Proxy(int(url.rsplit(":", 1)[1]))
    try:
        yield proxy
    finally:
        proxy.close()


class Troubles:
    """Changes a proxy's mode on and on, in a thread, until left; the server is well again afterwards."""

    def __init__(self, proxy: Proxy, modes: list[str], every: float) -> None:
        self._proxy, self._modes, self._every = proxy, modes, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._done = 0

    def rounds(self, count: int, seconds: float) -> bool:
        """Wait until every mode had its turn so often; says whether that was within `seconds`."""
        deadline = time.monotonic() + seconds
        while self._done < count * len(self._modes) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self._done >= count * len(self._modes)

    def _go(self) -> None:
        while not self._stop.is_set():
            mode = self._modes[self._done % len(self._modes)]
            before = self._proxy.requests[mode]
            self._proxy.mode = mode
            self._stop.wait(self._every)
            # The breaker may be pausing: let the mode last until somebody met it.
            for _ in range(300):
                if mode == "refuse" or self._proxy.requests[mode] > before or self._stop.is_set():
                    break
                self._stop.wait(0.02)
            self._done += 1

    def __enter__(self) -> Troubles:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._proxy.mode = "pass"
