"""What happens at the spool's cap, as LIFTLOCK_TRACKING_FULL says: keep, block, drop-metrics, stop."""

from __future__ import annotations

from typing import Any

from liftlock_tracking.quiet import warn
from liftlock_tracking.settings import SWITCHES, Settings
from liftlock_tracking.spool import Spool


class Limits:
    """Asked before a call is kept; `dropped` counts calls and points that policy threw away."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        self._cap = settings.cap
        self._policy = settings.full
        self._spool = spool
        self._shed_from = 0
        self.dropped = 0

    def room(self, call: dict[str, Any]) -> bool:
        """Whether a call may be kept; waits here with the policy `block`."""
        if self._spool.size() < self._cap:
            return True
        size = self._spool.size() >> 20
        if self._policy == "keep":
            warn("cap", "liftlock-tracking: the spool holds %d MB, more than its cap; everything is kept", size)
            return True
        if self._policy == "block":
            warn("cap", "liftlock-tracking: the spool is full (%d MB); calls wait, as `block` asks", size)
            while self._spool.size() >= self._cap and SWITCHES.tracking():
                self._spool.wait(self._spool.shipped + 1, 1.0)
            return True
        if self._policy == "drop-metrics" and not (self._overrun() and only_points(call)):
            # The background drops the oldest points; this call is kept.
            return True
        self.dropped += 1
        warn("cap", "liftlock-tracking: the spool is full (%d MB); calls are dropped (%s)", size, self._policy)
        return False

    def _overrun(self) -> bool:
        """Whether dropping old points does not keep up with new ones."""
        return self._spool.size() >= self._cap * 5 // 4

    def excess(self) -> int:
        """Bytes of old points to drop now: down to three quarters of the cap; 0 while there is no need or no use."""
        size = self._spool.size()
        if self._policy != "drop-metrics" or size < max(self._cap, self._shed_from):
            return 0
        return size - self._cap * 3 // 4

    def shed(self, points: int) -> None:
        """So many points were dropped. If the spool is still full, look again only when it has grown."""
        self.dropped += points
        size = self._spool.size()
        self._shed_from = size + self._cap // 16 if size >= self._cap else 0
        if points:
            warn("cap", "liftlock-tracking: the spool is full; its %d oldest points were dropped", points)


def only_points(call: dict[str, Any]) -> bool:
    """Whether a call holds metric points and nothing else."""
    return call.get("k") == "b" and "p" not in call and "t" not in call
