"""The summary as a document: the entry of an upgrade log first, then what it rests on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from liftlock.model.evidence import CommandResult, Summary
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.watch import Watch
from liftlock.report import document_html, document_markdown
from liftlock.report.document import Block, Bullets, Document, Section, Table
from liftlock.report.text import seconds, tally

_VERIFY = (
    "On any machine: `liftlock evidence verify DIRECTORY --key KEY.pub`. Without liftlock: `sha256sum --check "
    "SHA256SUMS`, compare those digests with `statement.json`, and check its signature with `ssh-keygen -Y verify -f "
    "SIGNERS -I evidence -n liftlock-evidence -s statement.json.sig < statement.json`, where the file SIGNERS holds "
    "one line: the word evidence and the public key, which you got by another way."
)
_TONES = {Outcome.PASS: "good", Outcome.FAIL: "bad", Outcome.UNKNOWN: "bad", Outcome.SKIPPED: ""}


def document(summary: Summary) -> Document:
    """The whole report."""
    place = f" ({summary.environment})" if summary.environment else ""
    return Document(
        f"MLflow {summary.source} to {summary.target}: {summary.deployment}{place}",
        (),
        (
            Section(f"{summary.started_at:%Y-%m-%d}: {summary.source} to {summary.target}", (_log(summary),)),
            _section(
                "Steps", ("step", "began (UTC)", "took", "state"),
                [
                    (each.title, f"{each.started_at:%H:%M:%S}", _took(each.seconds), each.state)
                    for each in summary.steps
                ],
                "None was begun.",
            ),
            _verification("Verification", summary.verification),
            _watch(summary.watch),
            _section(
                "Databases",
                ("database", "tables", "rows", "tables added", "removed", "with other columns", "with other content"),
                [
                    (
                        each.role, f"{each.tables_before} to {each.tables_after}",
                        f"{each.rows_before} to {each.rows_after}",
                        *map(_names, (each.added, each.removed, each.altered, each.changed)),
                    )
                    for each in summary.databases
                ],
                "Not measured on both sides.",
            ),
            _section(
                "Security advisories", ("change", "advisories"),
                [(change, _names(ids)) for change, ids in summary.advisories.items()], "Not asked.",
            ),
            _proofs(summary.proofs),
            _section(
                "Packages that changed", ("package", "before", "after"),
                [(each.name, each.before or "-", each.after or "-") for each in summary.packages],
                "None, or the locks are not here.",
            ),
            _section(
                "Images", ("image", "where", "digest", "pinned there"),
                [
                    (each.image, f"{each.file}:{each.line}", each.digest or each.why, each.pinned or "-")
                    for each in summary.images
                ],
                "None is named, or the registries were not asked.",
            ),
            _section(
                "Approvals", ("what", "environment", "release", "by", "when (UTC)", "reason"),
                [
                    (
                        each.kind.value, each.environment, each.release or "-", each.by,
                        f"{each.at:%Y-%m-%d %H:%M:%S}", each.reason or "-",
                    )
                    for each in summary.decisions
                ],
                "None were asked for.",
            ),
            _section(
                "Not in this evidence", ("what", "why"), [(each.what, each.why) for each in summary.missing],
                "Nothing is missing.",
            ),
            Section("How to check it", (_VERIFY,)),
        ),
    )  # fmt: skip


def markdown(summary: Summary) -> str:
    """The report as Markdown."""
    return document_markdown.render(document(summary))


def html(summary: Summary) -> str:
    """The report as one page that needs nothing from outside and runs nothing."""
    return document_html.render(document(summary))


def _log(summary: Summary) -> Bullets:
    """The entry of an upgrade log, as people keep one by hand."""
    hold = summary.write_hold_seconds
    ended = f"{summary.ended_at:%Y-%m-%d %H:%M:%S} UTC" if summary.ended_at else "not ended"
    return Bullets(
        (
            f"Performed by: {summary.operator}",
            f"Outcome: {summary.outcome}{f' ({summary.message})' if summary.message else ''}",
            f"Strategy: {summary.strategy or 'none'}",
            f"Began {summary.started_at:%Y-%m-%d %H:%M:%S} UTC, ended {ended}",
            f"Writes were held for: {seconds(hold) if hold is not None else 'not measured'} "
            f"(planned: {summary.window or 'nothing'})",
            f"Issues: {'; '.join(summary.issues) or 'none'}",
            f"Way back: {summary.way_back}",
            f"Backups: {_names(summary.backups)}",
            f"Run: {summary.run}",
        )
    )


def _watch(watch: Watch | None) -> Section:
    """What was watched afterwards, and how it compares with before."""
    if watch is None:
        return Section("Watch", ("It was not watched.",))
    what = f"; rolled back: {watch.rolled_back}" if watch.rolled_back else "; breached" if watch.breached else ""
    about = (
        f"{watch.requests} requests from {watch.began_at:%Y-%m-%d %H:%M} to {watch.until:%Y-%m-%d %H:%M} UTC{what}. "
    )
    return _verification("Watch", watch.findings, about)


def _verification(title: str, found: Sequence[Finding], about: str = "") -> Section:
    tones = tuple(
        "warn" if each.outcome is Outcome.FAIL and each.severity is not Severity.ERROR else _TONES[each.outcome]
        for each in found
    )
    rows = tuple((each.code, each.title, _answer(each), each.message) for each in found)
    lead: tuple[Block, ...] = (f"{about}{tally(found)}.",)
    return Section(title, (*lead, Table(("code", "question", "answer", "words"), rows, tones)) if rows else lead)


def _proofs(results: Sequence[CommandResult]) -> Section:
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
    return _section(
        "Tests and checklist", headers, rows, "No test or check was run for this evidence.",
        tones=[_TONES[each.outcome] for each in results],
    )  # fmt: skip


def _section(
    title: str, headers: tuple[str, ...], rows: Iterable[tuple[str, ...]], otherwise: str, *, tones: Sequence[str] = ()
) -> Section:
    """A table, or a sentence where it would be empty."""
    kept = tuple(rows)
    return Section(title, (Table(headers, kept, tuple(tones)) if kept else otherwise,))


def _answer(finding: Finding) -> str:
    return finding.outcome.value if finding.blocks or not finding.needs_attention else f"{finding.outcome} (warning)"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _took(value: float | None) -> str:
    return seconds(value) if value is not None else "-"
