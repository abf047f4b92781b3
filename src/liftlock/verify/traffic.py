"""Requests counted into `Traffic`, and two traffics made comparable: the same mix of endpoints on both sides."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from liftlock.model.watch import Traffic

# The next bucket's times are 2 % longer, so that a quantile is told to within 1 %.
_STEP = math.log(1.02)
# How long these take is up to the client's line, the size of a file, or a model somewhere else.
_UNTIMED = re.compile(
    r"/mlflow-artifacts/|/get-artifact|/get-trace-artifact|/upload-artifact|/artifacts/files|/gateway/|/assistant/"
)
_ASIDE = re.compile(r"/(?:health|version|metrics)\Z")
_EXISTS = 400  # what MLflow answers to the second `registered-models/create` of a name, which every registration sends


def counts(endpoint: str) -> bool:
    """Whether requests to this endpoint say something of the API: health checks by the thousand would hide it."""
    return not _ASIDE.search(endpoint)


class Tally:
    """Counts requests. `endpoint` is the template of an endpoint, as in `knowledge.fates.Endpoints`."""

    def __init__(self, start: Traffic | None = None) -> None:
        self._durations: dict[str, dict[int, int]] = {}
        self._numbers = dict.fromkeys(("requests", "failed", "refused", "registrations", "registered"), 0)
        self._first = self._last = 0
        if start is not None:
            self.join(start)

    def add(self, endpoint: str, status: int, us: int, at: int) -> None:
        """One request: its answer (499: the client left without one), microseconds, milliseconds since 1970."""
        numbers = self._numbers
        numbers["requests"] += 1
        failed = status >= 499
        numbers["failed"] += failed
        numbers["refused"] += status in (401, 403)
        if endpoint.endswith(("/registered-models/create", "/model-versions/create")):
            again = status == _EXISTS and endpoint.endswith("/registered-models/create")
            numbers["registrations"] += not again
            numbers["registered"] += status < 400
        if us > 0 and not failed and not _UNTIMED.search(endpoint):
            buckets = self._durations.setdefault(endpoint, {})
            bucket = round(math.log(us) / _STEP)
            buckets[bucket] = buckets.get(bucket, 0) + 1
        self._between(at, at)

    def join(self, other: Traffic) -> None:
        """All requests of another traffic."""
        for endpoint, buckets in other.durations.items():
            mine = self._durations.setdefault(endpoint, {})
            for bucket, number in buckets.items():
                mine[bucket] = mine.get(bucket, 0) + number
        for name in self._numbers:
            self._numbers[name] += getattr(other, name)
        if other.requests:
            self._between(other.first, other.last)

    def traffic(self) -> Traffic:
        """What was counted up to now."""
        durations = {endpoint: dict(buckets) for endpoint, buckets in self._durations.items()}
        return Traffic(durations=durations, first=self._first, last=self._last, **self._numbers)

    def _between(self, first: int, last: int) -> None:
        self._first = min(self._first, first) if self._first else first
        self._last = max(self._last, last)


def merged(parts: Iterable[Traffic]) -> Traffic:
    """The requests of all."""
    tally = Tally()
    for part in parts:
        tally.join(part)
    return tally.traffic()


class Compared:
    """Durations of two traffics on one mix of endpoints: `covered` is the share of requests (0 to 1) both have alike.

    A day of searches after a day of logging is slower without any server being to blame. So of each endpoint both sides
    have, as much is taken as the side that has less of it; what only one side has is left out. The weights are those of
    the usual standardization; `size` is Kish's effective number of observations.
    """

    def __init__(self, before: Traffic, now: Traffic) -> None:
        old, new = _sizes(before), _sizes(now)
        all_old, all_new = sum(old.values()), sum(new.values())
        mix = {key: min(old[key] / all_old, new[key] / all_new) for key in old.keys() & new.keys()}
        self.covered = sum(mix.values())
        self.before, self.before_size = _weighted(before.durations, old, mix)
        self.now, self.now_size = _weighted(now.durations, new, mix)


def _sizes(traffic: Traffic) -> dict[str, int]:
    return {endpoint: sum(buckets.values()) for endpoint, buckets in traffic.durations.items() if buckets}


def _weighted(
    durations: Mapping[str, Mapping[int, int]], sizes: Mapping[str, int], mix: Mapping[str, float]
) -> tuple[dict[float, float], float]:
    """Seconds to weight, and the effective number of observations."""
    weights: dict[float, float] = {}
    squares = 0.0
    for endpoint, part in mix.items():
        squares += part * part / sizes[endpoint]
        for bucket, number in durations[endpoint].items():
            seconds = math.exp(bucket * _STEP) / 1e6
            weights[seconds] = weights.get(seconds, 0.0) + part * number / sizes[endpoint]
    total = sum(mix.values())
    return weights, (total * total / squares if squares else 0.0)
