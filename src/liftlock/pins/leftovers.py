"""What still names another version of MLflow after a change, in any text file, known format or not."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.document import Document
from liftlock.pins.formats import FORMATS
from liftlock.pins.formats.docs import is_history
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import CannotWrite, Pin, Syntax, Target
from liftlock.pins.writing import admits, named, rewritten

# A distribution by its file's name, which no edit can make another one.
_FILE = re.compile(
    rf"(?<![\w.])mlflow(?:[-_](?:skinny|tracing))?-(?P<version>{tokens.VERSION})(?:-py\d|\.tar\.|\.zip)", re.IGNORECASE
)
_NEAR = 2
_LONGEST = 2000


class Kind(enum.StrEnum):
    """Where a leftover stands: only the first can change what runs."""

    PLACE = "left over"
    COMMENT = "comment"
    DOCS = "documentation"
    OLDER = "for older Pythons"


@dataclass(frozen=True)
class Leftover:
    """One line that names `version`."""

    path: str
    line: int
    text: str
    version: str
    kind: Kind


def leftovers(
    documents: Iterable[Document],
    known: Mapping[str, int],
    old: Collection[str],
    target: Target,
    older: Collection[tuple[str, int]] = (),
) -> list[Leftover]:
    """Search documents as they will be.

    `known` maps the paths whose format was understood to how many lines from the word mlflow one of the `old` versions
    still counts: 0 where a line says what its version belongs to. Elsewhere it is two lines. `older` are the places of
    pins that stay as they are because their marker asks for Pythons the target does not run on.
    """
    # two numbers alone are too common: REST paths begin with `api/2.0/mlflow`
    words = sorted({version for version in old if version.count(".") > 1 and version != str(target.version)})
    pattern = re.compile(rf"(?<![\w.])v?(?P<version>{'|'.join(map(re.escape, words))})(?!\w|\.\d)") if words else None
    found = []
    for document in documents:
        path = PurePosixPath(document.path)
        if is_history(path):
            continue
        docs = document.path not in known and _is_docs(path, document)
        lines = document.text.splitlines()
        reach = 0 if docs else known.get(document.path, _NEAR)
        hits = dict(_near(lines, pattern, reach)) if pattern else {}
        hits |= dict(_tokens(lines, target))
        understood = document.path in known or path.suffix == ".py"
        for number, version in sorted(hits.items()):
            line = lines[number - 1]
            kind = Kind.DOCS if docs else Kind.COMMENT if understood and _comment(line, version) else Kind.PLACE
            kind = Kind.OLDER if (document.path, number) in older else kind
            found.append(Leftover(document.path, number, line.strip()[:160], version, kind))
    return found


def _is_docs(path: PurePosixPath, document: Document) -> bool:
    """Whether it is documentation and nothing else: `requirements.txt` is a text, too."""
    form = next((each for each in FORMATS if each.recognises(path, document.text[:4096])), None)
    return form is not None and form.group is Group.DOCS


def _comment(line: str, version: str) -> bool:
    return version not in tokens.without_comments(line, ("#", "//", ";"))


def _tokens(lines: list[str], target: Target) -> Iterator[tuple[int, str]]:
    """Lines with an unmistakable pin to another version."""
    for number, line in enumerate(lines, 1):
        if "mlflow" in line.lower() and len(line) <= _LONGEST:
            for pin in tokens.anything_in(line, conda=True):
                if (version := named(pin)) is not None and not _names(pin, target):
                    yield number, version
            for found in _FILE.finditer(line):
                if found["version"] != str(target.version):
                    yield number, found["version"]


def _names(pin: Pin, target: Target) -> bool:
    """Whether a pin names the target, or is a range in prose or code that admits it."""
    if pin.syntax is Syntax.PEP440 and admits(pin.text, target.version):
        return True
    try:
        return rewritten(pin, target) == pin.text
    except CannotWrite:
        return False


def _near(lines: list[str], pattern: re.Pattern[str], reach: int) -> Iterator[tuple[int, str]]:
    """Lines with an old version, no further than `reach` lines from the word mlflow."""
    mentions = {number for number, line in enumerate(lines, 1) if "mlflow" in line.lower()}
    for number, line in enumerate(lines, 1):
        if len(line) > _LONGEST or mentions.isdisjoint(range(number - reach, number + reach + 1)):
            continue
        if found := pattern.search(line):
            yield number, found["version"]
