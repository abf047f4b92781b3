"""The release's own batch request: consecutive metrics, parameters and tags of one run, as many as it may hold."""

from __future__ import annotations

from typing import Any, Callable

from liftlock_tracking.wire import number

MOST_METRICS, MOST_PARAMS, MOST_TAGS, MOST_ITEMS = 1000, 100, 100, 1000
BATCH_BYTES = 900_000


def pieces(call: dict[str, Any]) -> list[dict[str, Any]]:
    """A call's items cut so that each piece fits a batch of its own."""
    metrics, params, tags = call.get("m", ()), call.get("p", ()), call.get("t", ())
    if len(metrics) + len(params) + len(tags) <= 100:
        return [call]
    cut: list[dict[str, Any]] = []
    for name, items in (("m", metrics), ("p", params), ("t", tags)):
        cut.extend({"k": "b", "r": call["r"], name: items[i : i + 100]} for i in range(0, len(items), 100))
    return cut


class Batch:
    """Consecutive metrics, parameters and tags of one run, up to what one log-batch request may hold."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.parts: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self._sizes: list[int] = []
        self._metrics = 0
        self._params: dict[str, str] = {}
        self._tags: set[str] = set()
        self._bytes = 0

    def fits(self, part: dict[str, Any], size: int) -> bool:
        """Whether the piece may join: limits of the server, and no parameter with two values in one request."""
        if not self.parts:
            return True
        metrics = self._metrics + len(part.get("m", ()))
        params, tags = len(self._params), len(self._tags)
        for key, value in part.get("p", ()):
            if key not in self._params:
                params += 1
            elif self._params[key] != value:
                return False
        for key, _ in part.get("t", ()):
            tags += key not in self._tags
        return (
            metrics <= MOST_METRICS
            and params <= MOST_PARAMS
            and tags <= MOST_TAGS
            and metrics + params + tags <= MOST_ITEMS
            and self._bytes + _wire_bytes(part, size) <= BATCH_BYTES
        )

    def add(self, part: dict[str, Any], record_id: str, size: int) -> None:
        """Join a piece that takes `size` bytes in the spool."""
        self.parts.append(part)
        self.ids.append(record_id)
        self._sizes.append(size)
        self._metrics += len(part.get("m", ()))
        self._params.update(part.get("p", ()))
        self._tags.update(t[0] for t in part.get("t", ()))
        self._bytes += _wire_bytes(part, size)

    def halves(self) -> list[Batch]:
        """The batch as two, in order."""
        middle = len(self.parts) // 2
        out = []
        for start, stop in ((0, middle), (middle, len(self.parts))):
            half = Batch(self.run)
            for at in range(start, stop):
                half.add(self.parts[at], self.ids[at], self._sizes[at])
            out.append(half)
        return out

    def body(self, run: str, resolve: Callable[[str], str]) -> dict[str, Any]:
        """The request; of several values for one tag the last one counts, as it would have one by one."""
        metrics, params, tags = [], {}, {}
        for part in self.parts:
            for item in part.get("m", ()):
                point: dict[str, Any] = {
                    "key": item[0],
                    "value": number(item[1]),
                    "timestamp": item[2],
                    "step": item[3],
                }
                if len(item) > 4:
                    point.update({k: resolve(v) for k, v in item[4].items()})
                metrics.append(point)
            for key, value in part.get("p", ()):
                params[key] = value
            for key, value in part.get("t", ()):
                tags[key] = value
        return {
            "run_id": run,
            "metrics": metrics,
            "params": [{"key": k, "value": resolve(v)} for k, v in params.items()],
            "tags": [{"key": k, "value": resolve(v)} for k, v in tags.items()],
        }


def _wire_bytes(part: dict[str, Any], size: int) -> int:
    """Bytes in the request: the spool's own plus the field names it leaves out."""
    return size + 64 * (len(part.get("m", ())) + len(part.get("p", ())) + len(part.get("t", ())))
