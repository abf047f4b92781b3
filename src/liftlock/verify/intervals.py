"""How sure a measured share or quantile is: bounds that hold whatever the distribution, and what a difference means.

The bounds are Chernoff's: of `n` requests of which a share `p` truly does something, a share as far off as `s` is seen
with a probability of at most exp(-n * D), D being the Kullback-Leibler divergence of `s` from `p`. Few requests give
wide bounds, and wide bounds give UNKNOWN: there is no minimum that somebody made up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from liftlock.model.finding import Outcome, Severity

# Each bound is wrong in at most 1 case of 200.
_SURE = math.log(200)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """What was measured, and what it is at least and at most."""

    low: float
    point: float
    high: float


def share(count: int, of: int) -> Interval:
    """The share of requests that do something: 0 to 1, the widest bounds when there were none."""
    if not of:
        return Interval(0.0, 0.0, 1.0)
    point = count / of
    return Interval(_bound(point, of, 0.0), point, _bound(point, of, 1.0))


def quantile(weights: Mapping[float, float], size: float, q: float) -> Interval:
    """The value below which a share `q` lies, of values with weights; `size` is how many observations they are worth.

    The bounds are values too; 0 and infinity where the observations are too few to say.
    """
    total = sum(weights.values())
    low, point, high, below = 0.0, None, math.inf, 0.0
    for value in sorted(weights):
        if below < q and size * _divergence(below, q) > _SURE:
            low = value  # too little lies below it
        below = min(1.0, below + weights[value] / total)
        if point is None and below >= q - _ROUNDING:
            point = value
        if below > q and size * _divergence(below, q) > _SURE:
            high = value
            break
    return Interval(low, max(weights, default=0.0) if point is None else point, high)


def verdict(
    before: Interval, now: Interval, *, warn: Callable[[float, float], bool], act: Callable[[float, float], bool]
) -> tuple[Outcome, Severity]:
    """What a difference means. `warn` and `act` say of two values (before, now) whether the step between is one to
    warn of, or to act on. Higher is worse.

    FAIL when the measured step is one and chance alone does not explain it; PASS when it is none and the bounds rule
    out one to act on; else UNKNOWN.
    """
    worse = now.low > before.high
    if act(before.point, now.point) and worse:
        return Outcome.FAIL, Severity.ERROR
    if warn(before.point, now.point):
        return (Outcome.FAIL, Severity.WARNING) if worse else (Outcome.UNKNOWN, Severity.ERROR)
    if act(before.low, now.high):
        return Outcome.UNKNOWN, Severity.ERROR
    return Outcome.PASS, Severity.ERROR


def _divergence(seen: float, true: float) -> float:
    """The Kullback-Leibler divergence of one coin from another, in nats."""
    parts = ((seen, true), (1.0 - seen, 1.0 - true))
    return sum(s * math.log(s / t) if t else math.inf for s, t in parts if s)


def _bound(seen: float, of: int, end: float) -> float:
    """The share farthest from the one seen, towards `end`, that is not ruled out."""
    near, far = seen, end
    if of * _divergence(seen, far) <= _SURE:
        return far
    for _ in range(60):  # bisection to the last bit
        middle = (near + far) / 2
        near, far = (middle, far) if of * _divergence(seen, middle) <= _SURE else (near, middle)
    return near
