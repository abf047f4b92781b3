"""The circuit breaker: after a failure nobody asks the server again until a pause is over, then one probe does."""

from __future__ import annotations

import threading
import time
from typing import Callable

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 10.0


class Breaker:
    """Closed (ask), open (do not ask), half-open (one may ask). Pauses double up to LONGEST_PAUSE seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, longest: float = LONGEST_PAUSE) -> None:
        self._clock = clock
        self._longest = longest
        self._lock = threading.Lock()
        self._pause = 0.0
        self._until = 0.0
        self.reason = ""

    @property
    def open(self) -> bool:
        """Whether the last thing known is that the server is away."""
        return self._pause > 0

    def wait(self) -> float:
        """Seconds until somebody may ask: 0 when closed, or when the pause is over (half-open)."""
        return max(0.0, self._until - self._clock()) if self.open else 0.0

    def failed(self, reason: str) -> bool:
        """The server did not answer; says whether that is news (it was closed before)."""
        with self._lock:
            news = self._pause == 0
            self._pause = FIRST_PAUSE if news else min(self._longest, self._pause * 2)
            self._until = self._clock() + self._pause
            self.reason = reason
            return news

    def answered(self) -> bool:
        """The server answered; says whether that is news (it was open before)."""
        with self._lock:
            news = self._pause > 0
            self._pause = 0.0
            self.reason = ""
            return news
