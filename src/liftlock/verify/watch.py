"""Is a server worse than it was? A pure decision over what was counted; nothing is measured here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from liftlock.describe.sections import WatchSection
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.watch import Traffic
from liftlock.verify.intervals import Interval, quantile, share, verdict
from liftlock.verify.traffic import Compared

_QUANTILES = (("LLW002", 0.50), ("LLW003", 0.95), ("LLW004", 0.99))
# Below this share of common requests the mix has changed so much that durations say nothing.
_COMMON = 0.5
_FULL = 0.9


@dataclass(frozen=True)
class Connections:
    """Client connections to one database now, to all of its server's, and how many that server takes."""

    now: int
    all: int
    most: int


@dataclass(frozen=True)
class Seen:
    """What one look saw. `health` is what is wrong with the server's health (empty: nothing), None when nobody asked.

    `databases` maps each to its connections, to a text saying why it could not be asked, or to None where it has none
    (a file).
    """

    traffic: Traffic
    health: str | None = None
    databases: Mapping[str, Connections | str | None] | None = None


def judge(
    before: Traffic, now: Seen, limits: WatchSection, *, connections: Mapping[str, int] | None = None
) -> tuple[Finding, ...]:
    """Every question of a watch. `before` is the baseline's traffic, `connections` its connections by database.

    A FAIL with severity ERROR is one to act on. What too few requests cannot tell is UNKNOWN.
    """
    found = [_health(now.health)] if now.health is not None else []
    found += _latencies(before, now.traffic, limits)
    found.append(_more("LLW005", "errors", "no answer or a server error", before, now.traffic, "failed", limits))
    found.append(_more("LLW006", "refusals", "refused (401, 403)", before, now.traffic, "refused", limits))
    found.append(_registrations(now.traffic, limits))
    for database, seen in (now.databases or {}).items():
        found.append(_connections(database, seen, (connections or {}).get(database)))
    return tuple(found)


def _health(problem: str) -> Finding:
    outcome = Outcome.FAIL if problem else Outcome.PASS
    return Finding(code="LLW001", title="health", outcome=outcome, message=problem or "answers 200 OK")


def _latencies(before: Traffic, now: Traffic, limits: WatchSection) -> Iterator[Finding]:
    both = Compared(before, now)
    least = limits.least_ms / 1000

    def slower(by: float, old: float, new: float) -> bool:
        return new > old * (1 + by) and new - old > least

    for code, q in _QUANTILES:
        title = f"p{q * 100:.0f}"
        if both.covered < _COMMON:
            why = "no requests to compare" if not both.covered else "other requests than before the upgrade"
            yield _unknown(code, title, f"{why}: {both.covered:.0%} in common", rare=q > 0.95)
            continue
        old, new = quantile(both.before, both.before_size, q), quantile(both.now, both.now_size, q)
        outcome, severity = verdict(
            old, new, warn=lambda a, b: slower(limits.warn, a, b), act=lambda a, b: slower(limits.act, a, b)
        )
        part = f", over the {both.covered:.0%} of requests both have" if both.covered < _FULL else ""
        change = f"{_ms(old.point)} -> {_ms(new.point)} ({_change(old.point, new.point)}){part}"
        detail = _detail(old, new) | {"requests": sum(sum(each.values()) for each in now.durations.values())}
        yield _finding(code, title, outcome, severity, change, detail, rare=q > 0.95)


def _more(code: str, title: str, what: str, before: Traffic, now: Traffic, field: str, limits: WatchSection) -> Finding:
    old_count, count = getattr(before, field), getattr(now, field)
    # nothing is known of before: then none is what is expected
    old = share(old_count, before.requests) if before.requests else Interval(0.0, 0.0, 0.0)
    new = share(count, now.requests)
    outcome, severity = verdict(
        old, new,
        warn=lambda a, b: b - a > limits.errors_warn, act=lambda a, b: b - a > limits.errors_act,
    )  # fmt: skip
    message = f"{old.point:.2%} -> {new.point:.2%} {what} ({count} of {now.requests})"
    return _finding(code, title, outcome, severity, message, _detail(old, new) | {"requests": now.requests})


def _registrations(now: Traffic, limits: WatchSection) -> Finding:
    if not now.registrations:
        return _unknown("LLW007", "registrations", "nobody registered a model", rare=True)
    failed = share(now.registrations - now.registered, now.registrations)
    expected = 1 - limits.registrations_warn
    outcome, severity = verdict(
        Interval(expected, expected, expected), failed,
        warn=lambda a, b: b > a, act=lambda _, b: b > 1 - limits.registrations_act,
    )  # fmt: skip
    message = f"{now.registered} of {now.registrations} succeeded ({1 - failed.point:.2%})"
    detail: dict[str, str | int | float | bool | None] = {"succeeded": now.registered, "of": now.registrations}
    return _finding("LLW007", "registrations", outcome, severity, message, detail, rare=True)


def _connections(database: str, seen: Connections | str | None, before: int | None) -> Finding:
    code, title = "LLW008", f"connections to {database}"
    if seen is None:
        return Finding(code=code, title=title, outcome=Outcome.SKIPPED, message="a file has none")
    if isinstance(seen, str):
        return Finding(code=code, title=title, outcome=Outcome.FAIL, message=seen)
    text = f"{seen.now}" + (f", {before} before" if before is not None else "")
    text += f"; its server has {seen.all} of {seen.most}"
    detail: dict[str, str | int | float | bool | None] = {"now": seen.now, "most": seen.most, "before": before}
    if seen.all > 0.9 * seen.most:
        return Finding(code=code, title=title, outcome=Outcome.FAIL, message=text, detail=detail)
    if before is None:
        return Finding(
            code=code, title=title, outcome=Outcome.UNKNOWN, severity=Severity.WARNING, message=text, detail=detail,
            hint="How many there were before was not noted.",
        )  # fmt: skip
    more = seen.now > max(before * 1.5, before + 5)
    outcome = Outcome.FAIL if more else Outcome.PASS
    return Finding(code=code, title=title, outcome=outcome, severity=Severity.WARNING, message=text, detail=detail)


def _finding(
    code: str, title: str, outcome: Outcome, severity: Severity, message: str,
    detail: dict[str, str | int | float | bool | None], *, rare: bool = False,
) -> Finding:  # fmt: skip
    if outcome is Outcome.UNKNOWN:
        return _unknown(code, title, f"{message}: too few requests to say", rare=rare, detail=detail)
    return Finding(code=code, title=title, outcome=outcome, severity=severity, message=message, detail=detail)


def _unknown(
    code: str, title: str, message: str, *, rare: bool,
    detail: dict[str, str | int | float | bool | None] | None = None,
) -> Finding:  # fmt: skip
    """What is `rare` takes many requests to know; without it a gate may open, the rest keeps it shut."""
    return Finding(
        code=code, title=title, outcome=Outcome.UNKNOWN, severity=Severity.WARNING if rare else Severity.ERROR,
        message=message, detail=detail or {}, hint="Watch longer; --probe adds requests of liftlock's own.",
    )  # fmt: skip


def _detail(old: Interval, new: Interval) -> dict[str, str | int | float | bool | None]:
    values = {
        "before": old.point, "before_low": old.low, "before_high": old.high,
        "now": new.point, "now_low": new.low, "now_high": new.high,
    }  # fmt: skip
    return {name: round(value, 6) if value != float("inf") else None for name, value in values.items()}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def _change(old: float, new: float) -> str:
    return f"{(new - old) / old:+.0%}" if old else "new"
