"""A scan as SARIF 2.1.0, for code hosts and editors."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from liftlock import __version__
from liftlock.scan.codes import CODES
from liftlock.scan.model import ScanFinding, ScanResult, Verdict
from liftlock.scan.suppress import fingerprint

_LEVELS = {
    Verdict.BROKEN: "error", Verdict.BREAKS: "error", Verdict.BEHAVIOUR: "warning", Verdict.DEPRECATED: "warning",
    Verdict.UNKNOWN: "note", Verdict.PARTIAL: "note",
}  # fmt: skip


def render(result: ScanResult) -> dict[str, Any]:
    """The document, ready for JSON."""
    used = sorted({finding.code for finding in result.findings})
    rules = [
        {"id": each.code, "name": each.title, "shortDescription": {"text": each.title},
         "fullDescription": {"text": each.text}}
        for each in CODES if each.code in used
    ]  # fmt: skip
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "liftlock scan", "version": __version__, "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(each, used) for each in result.findings],
                "properties": {"source": result.source, "target": result.target},
            }
        ],
    }


def _result(finding: ScanFinding, used: list[str]) -> dict[str, Any]:
    text = finding.message + (f" Instead: {finding.replacement}." if finding.replacement else "")
    return {
        "ruleId": finding.code, "ruleIndex": used.index(finding.code), "level": _LEVELS[finding.verdict],
        "message": {"text": text},
        "partialFingerprints": {"liftlock/v1": fingerprint(finding)},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": quote(finding.path)},
            "region": {"startLine": finding.line, "startColumn": finding.column, "endLine": finding.end_line,
                       "endColumn": finding.end_column},
        }}],
        "properties": {"verdict": finding.verdict.value, "confidence": finding.confidence.value,
                       "symbol": finding.symbol, "changed_in": finding.changed_in},
    }  # fmt: skip
