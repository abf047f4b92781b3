"""Writers and readers with a ledger of their own: what was acknowledged, by whom, and what may have happened."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field

from tests.support.gate import LOG_METRIC, SEARCH


@dataclass
class Ledger:
    """Outcomes as the clients saw them. Times are monotonic seconds."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    slowest_read: float = 0.0
    slowest_write: float = 0.0
    read_errors: list[str] = field(default_factory=list)
    reads: int = 0


class Load:
    """`writers` and `readers` threads on keep-alive connections until the block ends."""

    def __init__(self, port: int, *, writers: int = 12, readers: int = 6, pause: float = 0.004) -> None:
        self.ledger = Ledger()
        self._port = port
        self._pause = pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._write, args=(n,), daemon=True) for n in range(writers)]
        self._threads += [threading.Thread(target=self._read, daemon=True) for _ in range(readers)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive(), "a client hangs"

    def _write(self, number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        count = 0
        while not self._stop.is_set():
            count += 1
            key = f"w{number}-{count}"
            started = time.monotonic()
            try:
                connection.request("POST", LOG_METRIC, body=key)
                answer = connection.getresponse()
                text = answer.read().decode()
                with self._lock:
                    if answer.status == 200:
                        self.ledger.acknowledged[key] = text
                    else:
                        self.ledger.failed[key] = str(answer.status)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.ledger.failed[key] = repr(error)
                time.sleep(0.02)
            with self._lock:
                self.ledger.slowest_write = max(self.ledger.slowest_write, time.monotonic() - started)
            time.sleep(self._pause)

    def _read(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                connection.request("POST", SEARCH, body="{}")
                answer = connection.getresponse()
                answer.read()
                with self._lock:
                    self.ledger.reads += 1
                    if answer.status != 200:
                        self.ledger.read_errors.append(str(answer.status))
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                with self._lock:
                    self.ledger.read_errors.append(repr(error))
                time.sleep(0.02)
            with self._lock:
                self.ledger.slowest_read = max(self.ledger.slowest_read, time.monotonic() - started)
            time.sleep(self._pause)
