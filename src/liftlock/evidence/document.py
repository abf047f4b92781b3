"""The summary as a document: sections of text and tables, written as Markdown or as one HTML page. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from liftlock.model.evidence import CommandResult, Summary
from liftlock.model.finding import Finding
from liftlock.report.text import seconds, tally

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;padding:0 1rem;color:#1c1c1e}"
    "table{border-collapse:collapse;width:100%}th,td{border-bottom:1px solid #ddd;padding:.3rem .6rem;text-align:left;"
    "vertical-align:top}"
)
_VERIFY = (
    "On any machine: liftlock evidence verify DIRECTORY --key KEY.pub. Without liftlock: sha256sum --check SHA256SUMS, "
    "compare those digests with statement.json, and check its signature with ssh-keygen -Y verify -f SIGNERS -I "
    "evidence -n liftlock-evidence -s statement.json.sig < statement.json, where the file SIGNERS holds one line: the "
    "word evidence and the public key, which you got by another way."
)


@dataclass(frozen=True)
class Section:
    """A heading with lines of text, and perhaps a table."""

    title: str
    lines: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def sections(summary: Summary) -> tuple[Section, ...]:
    """The whole document: the log entry first, then what it rests on."""
    return (
        _log(summary),
        Section(
            "Steps",
            headers=("step", "began (UTC)", "took", "state"),
            rows=tuple(
                (each.title, f"{each.started_at:%H:%M:%S}", _took(each.seconds), each.state) for each in summary.steps
            ),
        ),
        Section(
            "Verification",
            (f"{tally(summary.verification)}.",),
            ("code", "question", "answer", "words"),
            tuple((each.code, each.title, _answer(each), each.message) for each in summary.verification),
        ),
        Section(
            "Databases",
            () if summary.databases else ("Not measured on both sides.",),
            ("database", "tables", "rows", "tables added", "removed", "with other columns", "with other content"),
            tuple(
                (
                    each.role, f"{each.tables_before} to {each.tables_after}",
                    f"{each.rows_before} to {each.rows_after}",
                    *map(_names, (each.added, each.removed, each.altered, each.changed)),
                )
                for each in summary.databases
            ),
        ),
        Section(
            "Security advisories",
            () if summary.advisories else ("Not asked.",),
            ("change", "advisories"),
            tuple((change, ", ".join(ids) or "none") for change, ids in summary.advisories.items()),
        ),
        *_proofs(summary.proofs),
        Section(
            "Packages that changed",
            () if summary.packages else ("None, or the locks are not here.",),
            ("package", "before", "after"),
            tuple((each.name, each.before or "-", each.after or "-") for each in summary.packages),
        ),
        Section(
            "Approvals",
            () if summary.decisions else ("None were asked for.",),
            ("what", "environment", "release", "by", "when (UTC)", "reason"),
            tuple(
                (
                    each.kind.value, each.environment, each.release or "-", each.by, f"{each.at:%Y-%m-%d %H:%M:%S}",
                    each.reason or "-",
                )
                for each in summary.decisions
            ),
        ),
        Section(
            "Not in this evidence",
            () if summary.missing else ("Nothing is missing.",),
            ("what", "why"),
            tuple((each.what, each.why) for each in summary.missing),
        ),
        Section("How to check it", (_VERIFY,)),
    )  # fmt: skip


def markdown(summary: Summary) -> str:
    """The document as Markdown; text from outside cannot break a table or add markup."""
    parts = [f"# {_cell(_title(summary))}"]
    for each in sections(summary):
        parts.append(f"## {_cell(each.title)}")
        if each.lines:
            marker = "- " if len(each.lines) > 1 else ""
            parts.append("\n".join(f"{marker}{_cell(line)}" for line in each.lines))
        if each.rows:
            rule = tuple("---" for _ in each.headers)
            rows = [each.headers, rule, *(tuple(map(_cell, row)) for row in each.rows)]
            parts.append("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return "\n\n".join(parts) + "\n"


def html(summary: Summary) -> str:
    """The document as one page that needs nothing from outside and runs nothing."""
    title = escape(_title(summary))
    parts = [f"<h1>{title}</h1>"]
    for each in sections(summary):
        parts.append(f"<h2>{escape(each.title)}</h2>")
        if len(each.lines) > 1:
            parts.append(f"<ul>{_all('li', each.lines)}</ul>")
        elif each.lines:
            parts.append(f"<p>{escape(each.lines[0])}</p>")
        if each.rows:
            body = "".join(f"<tr>{_all('td', row)}</tr>" for row in each.rows)
            parts.append(f"<table><thead><tr>{_all('th', each.headers)}</tr></thead><tbody>{body}</tbody></table>")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _title(summary: Summary) -> str:
    place = f" ({summary.environment})" if summary.environment else ""
    return f"MLflow {summary.source} to {summary.target}: {summary.deployment}{place}"


def _log(summary: Summary) -> Section:
    """The entry of an upgrade log, as people keep one by hand."""
    hold = summary.write_hold_seconds
    ended = f"{summary.ended_at:%Y-%m-%d %H:%M:%S} UTC" if summary.ended_at else "not ended"
    return Section(
        f"{summary.started_at:%Y-%m-%d}: {summary.source} to {summary.target}",
        (
            f"Performed by: {summary.operator}",
            f"Outcome: {summary.outcome}{f' ({summary.message})' if summary.message else ''}",
            f"Strategy: {summary.strategy or 'none'}",
            f"Began {summary.started_at:%Y-%m-%d %H:%M:%S} UTC, ended {ended}",
            f"Writes were held for: {seconds(hold) if hold is not None else 'not measured'} "
            f"(planned: {summary.window or 'nothing'})",
            f"Issues: {'; '.join(summary.issues) or 'none'}",
            f"Way back: {summary.way_back}",
            f"Backups: {', '.join(summary.backups) or 'none'}",
            f"Run: {summary.run}",
        ),
    )


def _proofs(results: Sequence[CommandResult]) -> Iterable[Section]:
    if not results:
        yield Section("Tests and checklist", ("No test or check was run for this evidence.",))
        return
    rows = []
    for each in results:
        counts = ", ".join(f"{number} {name}" for name, number in each.counts.items())
        rows.append(
            (
                each.name + (f" ({each.when})" if each.when else ""), each.outcome.value, counts or each.expected,
                f"{each.at:%Y-%m-%d %H:%M:%S}", each.by, seconds(each.seconds), each.message,
            )
        )  # fmt: skip
    headers = ("what", "outcome", "expected or counted", "when (UTC)", "by", "took", "words")
    yield Section("Tests and checklist", headers=headers, rows=tuple(rows))


def _answer(finding: Finding) -> str:
    return finding.outcome.value if finding.blocks or not finding.needs_attention else f"{finding.outcome} (warning)"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _took(value: float | None) -> str:
    return seconds(value) if value is not None else "-"


def _cell(text: str) -> str:
    flat = " ".join(text.split())
    for sign in "\\|<>[]*_`":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def _all(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(text)}</{tag}>" for text in texts)
