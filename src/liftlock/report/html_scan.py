"""A scan as one HTML page that needs nothing from outside."""

from __future__ import annotations

from liftlock.report import document_html
from liftlock.report.document import Block, Document, Rows, Section
from liftlock.scan.model import ScanResult

_TONES = {"breaks": "bad", "broken": "bad", "behaviour": "warn", "deprecated": "warn"}


def render(result: ScanResult) -> str:
    """The page."""
    rows = Rows(("where", "code", "verdict", "what", "instead"))
    for each in result.findings:
        rows.add(
            f"`{each.path}:{each.line}:{each.column}`", each.code, f"{each.verdict.value} ({each.confidence.value})",
            each.message, each.replacement, tone=_TONES.get(each.verdict.value, ""),
        )  # fmt: skip
    partly = Rows(("file", "why"))
    for path, why in result.skipped.items():
        partly.add(f"`{path}`", why, tone="warn")
    blocks: list[Block] = [
        f"{len(result.findings)} findings; {result.scanned} of {result.files} files mention MLflow.",
    ]
    if rows.rows:
        blocks.append(rows.table("Findings"))
    sections = (Section("Not seen whole", (partly.table("Files that were not seen whole"),)),) if partly.rows else ()
    return document_html.render(Document(f"MLflow {result.source} to {result.target}", tuple(blocks), sections))
