"""Put replacements into files: edits that keep the meaning, all of a file or none; the result is looked at again."""

from __future__ import annotations

import ast
import difflib
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from liftlock import files
from liftlock.effects import side_effect
from liftlock.scan.model import Edit, ScanFinding
from liftlock.scan.run import decode

Rescan = Callable[[str, str], Sequence[ScanFinding]]


@dataclass(frozen=True)
class Fixed:
    """One file as it would become. `reason` says why it is left as it is; it is empty for one that can be written."""

    path: str
    before: str
    after: str
    encoding: str
    fixed: int
    reason: str = ""

    @property
    def diff(self) -> str:
        """A unified diff."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True), self.path, self.path
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def prepare(root: Path, findings: Iterable[ScanFinding], rescan: Rescan, *, unsafe: bool = False) -> list[Fixed]:
    """Work out the fixes of all files. `rescan` judges a path and a new text, as the scan did."""
    by_path: dict[str, list[ScanFinding]] = {}
    for finding in findings:
        if finding.edits and (unsafe or all(edit.safe for edit in finding.edits)):
            by_path.setdefault(finding.path, []).append(finding)
    return [_file(root, path, found, rescan) for path, found in sorted(by_path.items())]


def _file(root: Path, path: str, findings: Sequence[ScanFinding], rescan: Rescan) -> Fixed:
    place = root / path if root.is_dir() else root
    text, encoding = decode(place.read_bytes())
    after = apply(text, [edit for finding in findings for edit in finding.edits])
    reason = _damaged(path, text, after)
    if not reason:
        left = _count(rescan(path, after), findings)
        if left >= _count(rescan(path, text), findings):
            reason = "the result would be found again"
    return Fixed(path, text, text if reason else after, encoding, 0 if reason else len(findings), reason)


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with all edits made; of two that overlap, the one that begins first."""
    chosen: list[Edit] = []
    for edit in sorted(set(edits), key=lambda each: (each.start, each.end)):
        if not chosen or edit.start >= chosen[-1].end:
            chosen.append(edit)
    for edit in reversed(chosen):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def write(root: Path, fixed: Iterable[Fixed]) -> int:
    """Write the files that can be written; how many were. Raises OSError."""
    written = 0
    for each in fixed:
        if each.reason or each.after == each.before:
            continue
        place = root / each.path if root.is_dir() else root
        target = place.resolve()
        data = each.after.encode(each.encoding, "surrogateescape" if each.encoding.startswith("utf-8") else "strict")
        with side_effect("write fixed file"):
            files.write_atomic(target, data, mode=target.stat().st_mode & 0o7777)
        written += 1
    return written


def _count(found: Sequence[ScanFinding], fixed: Sequence[ScanFinding]) -> int:
    symbols = {(each.code, each.symbol) for each in fixed}
    return sum((each.code, each.symbol) in symbols for each in found)


def _damaged(path: str, before: str, after: str) -> str:
    """Why a result cannot be right: it does not parse, although the file did."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.endswith((".py", ".pyi")) and _parses(before) and not _parses(after):
            return "the result would not parse"
    if path.endswith(".ipynb"):
        try:
            json.loads(after)
        except ValueError:
            return "the result would be no notebook"
    return ""


def _parses(text: str) -> bool:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True
