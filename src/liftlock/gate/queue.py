"""The writes that wait for the end of a hold: bounded, in the order in which they came."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from liftlock import clock
from liftlock.gate.exchange import Exchange
from liftlock.gate.metrics import Metrics
from liftlock.gate.model import Limits


class _Wait(msgspec.Struct):
    """Since when (monotonic seconds), and what is kept in memory for it (bytes)."""

    since: float
    size: int


class Queue:
    """Iterates over what waits, the first first."""

    def __init__(self, limits: Limits, metrics: Metrics) -> None:
        self._limits = limits
        self._metrics = metrics
        self._waits: dict[Exchange, _Wait] = {}
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._waits)

    def __contains__(self, exchange: Exchange) -> bool:
        return exchange in self._waits

    def __iter__(self) -> Iterator[Exchange]:
        return iter(self._waits)

    @property
    def oldest(self) -> float:
        """For how long (s) the first has been waiting."""
        first = next(iter(self._waits.values()), None)
        return clock.monotonic() - first.since if first is not None else 0.0

    def put(self, exchange: Exchange, now: float) -> bool:
        """Let it wait; False when the queue is full."""
        size = len(exchange.pending) + exchange.client.buffered()
        if len(self._waits) >= self._limits.queue or self.bytes + size > self._limits.queue_bytes:
            return False
        self._waits[exchange] = _Wait(now, size)
        self.bytes += size
        return True

    def remove(self, exchange: Exchange) -> bool:
        """It waits no longer; False when it did not."""
        wait = self._waits.pop(exchange, None)
        if wait is None:
            return False
        self._end(exchange, wait)
        return True

    def clear(self) -> list[Exchange]:
        """None waits any longer; those that did."""
        waits, self._waits = self._waits, {}
        for exchange, wait in waits.items():
            self._end(exchange, wait)
        return list(waits)

    def _end(self, exchange: Exchange, wait: _Wait) -> None:
        self.bytes -= wait.size
        exchange.held = clock.monotonic() - wait.since
        self._metrics.longest_held = max(self._metrics.longest_held, exchange.held)
