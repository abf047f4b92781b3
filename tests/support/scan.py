"""Helpers of the scan's tests: scan a text, and samples that say in comments what is expected."""

from __future__ import annotations

import re

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.model import ScanFinding
from liftlock.scan.run import scan_text

OLD, NEW = "2.9.2", "3.17.2"
_EXPECT = re.compile(r"#\s*(?:expect|>)\s+(LL\d{3}(?:\s+LL\d{3})*)")


def findings(text: str, path: str = "sample.py", old: str = OLD, new: str = NEW) -> tuple[ScanFinding, ...]:
    """Scan one text."""
    return scan_text(path, text, load(), Release(version=old), Release(version=new))


def codes(text: str, path: str = "sample.py", old: str = OLD, new: str = NEW) -> list[str]:
    """The codes found, in order of place; curated rules (LL8) have samples of their own."""
    return [each.code for each in findings(text, path, old, new) if not each.code.startswith("LL8")]


def check_sample(text: str, path: str = "sample.py", old: str = OLD, new: str = NEW) -> None:
    """Every line that ends in `# expect LL101` has exactly these findings; every other line has none."""
    expected = {
        number: sorted(found[1].split())
        for number, line in enumerate(text.splitlines(), 1)
        if (found := _EXPECT.search(line)) is not None
    }
    got: dict[int, list[str]] = {}
    for each in findings(text, path, old, new):
        if each.code.startswith("LL8"):
            continue  # rules have samples of their own
        got.setdefault(each.line, []).append(each.code)
    assert {line: sorted(found) for line, found in got.items()} == expected


def spans(text: str, path: str = "sample.py", old: str = OLD, new: str = NEW) -> list[str]:
    """The words each finding points at."""
    lines = text.splitlines()
    return [lines[each.line - 1][each.column - 1 : each.end_column - 1] for each in findings(text, path, old, new)]
