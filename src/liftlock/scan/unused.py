"""Breaking changes that a tree does not use, and words in it that only look like one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from liftlock.knowledge import breaks
from liftlock.knowledge.breaks import Break, Kind
from liftlock.model.codec import Value
from liftlock.model.release import Release
from liftlock.scan.model import ScanFinding
from liftlock.scan.run import decode
from liftlock.scan.surfaces import kind_of
from liftlock.scan.walk import Walk, base_of

_WORD = re.compile(r"[A-Za-z_]\w*")
# What a word must have to be looked for alone: `query` or `df` are everywhere.
_TELLING = re.compile(r"\w{3,}_\w{2,}")


class Unused(Value, frozen=True):
    """A change on the way that nothing in the tree uses: the name, since when, what would be used instead."""

    symbol: str
    since: str
    replacement: str


class Friend(Value, frozen=True):
    """A word of a breaking change that stands in a tree without being a use; how often, and its first places."""

    word: str
    count: int
    places: tuple[str, ...]


def unused(findings: Iterable[ScanFinding], source: Release, target: Release) -> tuple[Unused, ...]:
    """The curated breaks between two releases that no finding speaks of."""
    used = {word for finding in findings for word in _words(finding.symbol)}
    rows: dict[str, Unused] = {}
    for row in breaks.between(source, target):
        if not used & set(_names(row)):
            symbol = f"{row.path}({', '.join(f'{name}=' for name in row.parameters)})" if row.parameters else row.path
            if row.kind in (Kind.CLI, Kind.OPTION):
                symbol = f"mlflow {row.path}"
            rows[symbol] = Unused(symbol=symbol, since=row.removed, replacement=row.replacement)
    return tuple(rows[symbol] for symbol in sorted(rows))


def friends(
    roots: Sequence[Path], findings: Sequence[ScanFinding], source: Release, target: Release, most: int = 3
) -> tuple[Friend, ...]:
    """Words of breaking changes in files that name MLflow, on lines without a finding. Reads the tree again."""
    words = {name for row in breaks.between(source, target) for name in _names(row) if _TELLING.fullmatch(name)}
    found: dict[str, list[str]] = {}
    taken = {(finding.path, finding.line) for finding in findings}
    pattern = re.compile(rf"\b(?:{'|'.join(sorted(words))})\b") if words else None
    walk = Walk()
    base = base_of(roots)
    for root in roots:
        for path in walk.paths(root):
            data = walk.read(path) if pattern is not None and kind_of(path) is not None else None
            if data is None:
                continue
            assert pattern is not None
            relative = os.path.relpath(path, base).replace(os.sep, "/")
            for number, line in enumerate(decode(data)[0].split("\n"), 1):
                if (relative, number) not in taken:
                    for word in dict.fromkeys(pattern.findall(line)):
                        found.setdefault(word, []).append(f"{relative}:{number}")
    return tuple(
        Friend(word=word, count=len(places), places=tuple(places[:most])) for word, places in sorted(found.items())
    )


def _names(row: Break) -> tuple[str, ...]:
    if row.parameters:
        return row.parameters
    if row.kind in (Kind.CLI, Kind.OPTION):
        return (row.path,)
    return (row.path.rpartition("/" if row.kind is Kind.REST else ".")[2],)


def _words(symbol: str) -> tuple[str, ...]:
    """`mlflow.a.b(c=)` -> c; `mlflow.a.b` -> a, b; `mlflow experiments list` -> experiments list."""
    if symbol.startswith("mlflow "):
        return (symbol.removeprefix("mlflow "),)
    if symbol.startswith("/"):
        return (symbol.rpartition("/")[2],)
    inner = symbol.partition("(")[2]
    return tuple(_WORD.findall(inner or symbol))
