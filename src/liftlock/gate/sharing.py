"""A second server behind the gate that gets a share of the reads, and what became of reads meanwhile."""

from __future__ import annotations

from liftlock.gate.model import Share
from liftlock.gate.upstream import Upstream


class Sharing:
    """`percent` of the reads go to `upstream`, evenly spread over all of them. Not recorded: a restart ends it."""

    def __init__(self, upstream: Upstream, percent: int) -> None:
        self.upstream = upstream
        self.percent = percent
        self._turn = 0
        self._answered = [0, 0]  # by the first server, by this one
        self._failed = [0, 0]

    def takes(self) -> bool:
        """Whether the next read goes to the second server."""
        self._turn += self.percent
        if self._turn < 100:
            return False
        self._turn -= 100
        return True

    def count(self, upstream: Upstream | None, status: int) -> None:
        """A read is over; `status` 0 is a connection that could not be made."""
        there = upstream is self.upstream
        if status:
            self._answered[there] += 1
        if status >= 500 or not status:
            self._failed[there] += 1

    def value(self) -> Share:
        """The share and its counts."""
        return Share(
            address=self.upstream.address, percent=self.percent, answered=self._answered[1], failed=self._failed[1],
            others=self._answered[0], others_failed=self._failed[0],
        )  # fmt: skip
