"""A scan as a Markdown table: for each change, whether it is used, and where."""

from __future__ import annotations

from collections.abc import Iterable

from liftlock.scan.model import ScanFinding, ScanResult, Verdict
from liftlock.scan.unused import Friend, Unused

_USED = {
    Verdict.BROKEN: "broken already", Verdict.BREAKS: "breaks", Verdict.BEHAVIOUR: "changes behaviour",
    Verdict.DEPRECATED: "deprecated", Verdict.UNKNOWN: "never read by MLflow", Verdict.PARTIAL: "seen in part",
}  # fmt: skip
_PLACES = 5


def render(result: ScanResult, unused: Iterable[Unused] = (), friends: Iterable[Friend] = ()) -> str:
    """The table: changes the tree uses, then those it does not; and words that only look like a use."""
    lines = [f"# MLflow {result.source} to {result.target}", ""]
    lines += ["| Change | Used | Since | Where | Action |", "|---|---|---|---|---|"]
    for symbol, found in _by_symbol(result.findings).items():
        first = found[0]
        places = ", ".join(f"`{each.path}:{each.line}`" for each in found[:_PLACES])
        if len(found) > _PLACES:
            places += f" and {len(found) - _PLACES} more"
        since = first.changed_in or "never there"
        lines.append(
            f"| `{_cell(symbol)}` | yes, {_USED[first.verdict]} | {since} | {places} | {_cell(first.replacement)} |"
        )
    lines += [f"| `{_cell(each.symbol)}` | no | {each.since} | | none |" for each in unused]
    lines += ["", f"{result.scanned} of {result.files} files mention MLflow."]
    apart = [
        f"- `{each.word}`: {each.count} line{'s' if each.count != 1 else ''}, first "
        + ", ".join(f"`{place}`" for place in each.places)
        for each in friends
    ]
    if apart:
        lines += ["", "False friends, words of a change in code that is no use of it:", "", *apart]
    if result.skipped:
        lines += ["", "Not seen whole:", ""]
        lines += [f"- `{path}`: {reason}" for path, reason in result.skipped.items()]
    return "\n".join(lines) + "\n"


def _by_symbol(findings: Iterable[ScanFinding]) -> dict[str, list[ScanFinding]]:
    found: dict[str, list[ScanFinding]] = {}
    for each in findings:
        found.setdefault(each.symbol, []).append(each)
    order = {verdict: number for number, verdict in enumerate(Verdict)}
    return dict(sorted(found.items(), key=lambda item: (order[item[1][0].verdict], item[0])))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
