"""What a process knows about its runs without asking the server."""

from __future__ import annotations

from typing import Any

KEPT_RUNS = 256


class RunView:
    """What this process knows about a run: its description and what it logged itself."""

    __slots__ = ("info", "metrics", "params", "tags")

    def __init__(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        self.info = description
        self.tags = tags
        self.params: dict[str, str] = {}
        self.metrics: dict[str, tuple[float, int, int]] = {}

    def saw(self, point: Any) -> None:
        """Keep a point (key, value, time, step) if it is the latest of its key, as the server would judge."""
        before = self.metrics.get(point[0])
        now = (point[1], point[2], point[3])
        if before is None or (now[2], now[1], now[0]) >= (before[2], before[1], before[0]):
            self.metrics[point[0]] = now


class Views(dict[str, RunView]):
    """Runs by id, the last KEPT_RUNS of them."""

    def remember(self, run_id: str, view: RunView) -> None:
        """Keep a run's description for as long as it may be asked for without the server."""
        self[run_id] = view
        while len(self) > KEPT_RUNS:
            self.pop(next(iter(self)))


class Nowhere:
    """Stands in for a runtime behind `liftlock+off:`: remembers runs in memory, opens nothing."""

    def __init__(self) -> None:
        self.runs = Views()
        self.experiments: dict[str, dict[str, Any]] = {}
