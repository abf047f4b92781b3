"""Findings a person has answered: `# liftlock: ignore[LL101]` on the line, and a baseline file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from liftlock.scan.model import ScanFinding

_MARK = re.compile(r"liftlock:\s*ignore(?:\[(?P<codes>[\w\s,]*)\])?")


def ignored(line: str, code: str) -> bool:
    """Whether a line asks to leave this code out; without brackets it means all."""
    found = _MARK.search(line)
    if found is None:
        return False
    if found["codes"] is None:
        return True
    return matches(code, [each.strip() for each in found["codes"].split(",") if each.strip()])


def matches(code: str, chosen: Iterable[str]) -> bool:
    """Whether a code is one of those chosen, or begins with one (`LL1`)."""
    return any(code.startswith(each) for each in chosen)


def fingerprint(finding: ScanFinding) -> str:
    """What a finding is called in a baseline: it survives lines being added above it."""
    text = f"{finding.path}\0{finding.code}\0{finding.symbol}"
    return hashlib.sha256(text.encode()).hexdigest()[:24]
