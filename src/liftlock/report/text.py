"""Values as plain text for a terminal or a pipe: aligned columns, one line per fact, no colour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from liftlock.model.codec import from_builtins
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.plan import Estimate, Origin, Plan

_MARK = {Outcome.PASS: "ok", Outcome.FAIL: "FAIL", Outcome.SKIPPED: "skip", Outcome.UNKNOWN: "????"}


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Rows under headers, columns as wide as their widest cell; the last column is not padded."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max([len(header), *(len(row[i]) for row in cells)]) for i, header in enumerate(headers)]
    lines = [_line(headers, widths), _line(["-" * width for width in widths], widths)]
    return "\n".join([*lines, *(_line(row, widths) for row in cells)])


def findings(found: Iterable[Finding], *, verbose: bool = True) -> str:
    """One line per finding, with hints below those that need attention; passes are left out unless `verbose`."""
    lines = []
    for each in found:
        attention = each.outcome in (Outcome.FAIL, Outcome.UNKNOWN)
        if not verbose and not attention:
            continue
        mark = "warn" if each.outcome is Outcome.FAIL and each.severity is not Severity.ERROR else _MARK[each.outcome]
        lines.append(f"{mark:<4}  {each.code}  {each.title}: {each.message}".rstrip(": "))
        if each.hint and attention:
            lines.append(f"            hint: {each.hint}")
    return "\n".join(lines)


def tally(found: Iterable[Finding]) -> str:
    """`12 ok, 1 failed, 2 skipped`: how many of each."""
    names = {Outcome.PASS: "ok", Outcome.FAIL: "failed", Outcome.UNKNOWN: "unknown", Outcome.SKIPPED: "skipped"}
    counts = dict.fromkeys(names, 0)
    for each in found:
        counts[each.outcome] += 1
    return ", ".join(f"{count} {names[outcome]}" for outcome, count in counts.items() if count) or "nothing checked"


_LITTLE = 0.5


def estimate(value: Estimate) -> str:
    """`4 s to 9 s (rehearsed)`, `under 0.5 s (computed)`, or `unknown`."""
    if value.low is None or value.high is None or value.origin is Origin.UNKNOWN:
        return "unknown"
    if value.high < _LITTLE:
        return f"under {seconds(_LITTLE)} ({value.origin.value})"
    return f"{seconds(value.low)} to {seconds(value.high)} ({value.origin.value})"


def seconds(value: float) -> str:
    """A duration as a person says it: 0.4 s, 12 s, 3 min 20 s."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{int(value // 60)} min {int(value % 60)} s"


def hold(value: float) -> str:
    """How long writes were held: 0.06 s, 1.4 s, as other durations from a second on."""
    return f"{value:.2f} s" if value < 1 else seconds(value)


def size(value: float) -> str:
    """Bytes with a unit: 512 B, 1.3 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError("unreachable")


def plan(value: Plan) -> str:
    """The plan: what and why, the steps, the point of no return, the window."""
    rows = [
        (
            number,
            step.title,
            "held" if step.holds_writes else "open",
            step.reversibility.value,
            estimate(step.estimate),
        )
        for number, step in enumerate(value.steps, 1)
    ]
    lines = [
        f"plan {value.id}: {value.deployment_name}, MLflow {value.jump.source} to {value.jump.target}, "
        f"strategy {value.strategy.value}",
        *(f"  - {reason}" for reason in value.reasons),
        *(f"  - not {name}: {reason}" for name, reason in value.not_offered.items()),
        "",
        table(("#", "step", "writes", "way back", "takes"), rows),
        "",
        f"writes are held for {estimate(value.window)}",
        f"point of no return: {value.point_of_no_return}",
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths[:-1], strict=True)]
    return "  ".join([*padded, cells[-1]]).rstrip()


def run_summary(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A run's steps with their seconds and what they found."""
    rows = []
    for name, result in results.items():
        found = tuple(from_builtins(each, Finding) for each in result.get("findings", ()))
        words = [_short(key, value) for key, value in result.items()]
        said = tally(found) if found else ", ".join(word for word in words if word)
        took = result.get("seconds")
        rows.append((name, seconds(float(took)) if took is not None else "", said))
    return table(("step", "took", "result"), rows)


def _short(key: str, value: Any) -> str:
    if key == "revisions":
        return f"{len(value)} revisions"
    return f"{key} {value}" if key in ("set", "to", "pid") else ""
