"""A scan as text: one line for each finding, the code it stands in, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from liftlock.scan.model import ScanFinding, ScanResult, Verdict

_WORDS = {
    Verdict.BROKEN: "broken already", Verdict.BREAKS: "breaks", Verdict.BEHAVIOUR: "changes behaviour",
    Verdict.DEPRECATED: "deprecated", Verdict.UNKNOWN: "never read", Verdict.PARTIAL: "seen in part",
}  # fmt: skip
_WIDEST = 160


def render(result: ScanResult, line_of: Callable[[str, int], str]) -> Iterator[str]:
    """The lines of the report. `line_of` gives one line of a scanned file."""
    for finding in result.findings:
        place = f"{finding.path}:{finding.line}:{finding.column}"
        yield f"{place}: {finding.code} {_WORDS[finding.verdict]}: {finding.message}"
        yield from _frame(finding, line_of(finding.path, finding.line))
        notes = []
        if finding.replacement:
            notes.append(f"instead: {finding.replacement}")
        if finding.confidence.value != "certain":
            notes.append(finding.confidence.value)
        if finding.fixable:
            safe = all(edit.safe for edit in finding.edits)
            notes.append("--fix can change it" if safe else "--fix --unsafe can change it")
        if notes:
            yield f"      {'; '.join(notes)}"
    yield tally(result)
    for path, reason in result.skipped.items():
        yield f"not seen whole: {path}: {reason}"


def _frame(finding: ScanFinding, line: str) -> Iterator[str]:
    if not line.strip() or len(line) > _WIDEST:
        return
    indent = len(line) - len(line.lstrip())
    width = (finding.end_column if finding.end_line == finding.line else len(line) + 1) - finding.column
    shown = line.strip().expandtabs(1)
    yield f"{finding.line:>5} | {shown}"
    yield f"      | {' ' * max(finding.column - 1 - indent, 0)}{'^' * max(width, 1)}"


def tally(result: ScanResult) -> str:
    """`MLflow 2.9.2 to 3.17.2: 3 break, 1 broken already (12 of 340 files mention MLflow)`."""
    counts = {verdict: sum(each.verdict is verdict for each in result.findings) for verdict in _WORDS}
    said = ", ".join(f"{count} {_WORDS[verdict]}" for verdict, count in counts.items() if count) or "nothing found"
    more = f", {result.suppressed} suppressed" if result.suppressed else ""
    return (
        f"MLflow {result.source} to {result.target}: {said}{more} "
        f"({result.scanned} of {result.files} files mention MLflow)"
    )
