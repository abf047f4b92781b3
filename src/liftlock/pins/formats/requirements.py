"""pip requirements and constraints: extras, ranges, markers, hashes over several lines, Git references."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import PACKAGES, CannotParse, Pin, Syntax

_NAME = re.compile(r"(?:^|[-_.])(?:requirements?|reqs?|constraints?)(?:[-_.]|$)", re.IGNORECASE)
_FOLDER = frozenset({"requirements", "reqs", "constraints"})
_LINE = re.compile(rf"[ \t]*(?P<name>{tokens.PACKAGE})[ \t]*(?:\[[^\]\n]*\])?[ \t]*", re.IGNORECASE)
_HASHES = re.compile(r"--hash=\w+:[0-9a-f]+(?:\s*\\?\s+--hash=\w+:[0-9a-f]+)*")
_COMMENT = re.compile(r"(?:^|(?<=\s))#[^\r\n]*")
_REFERENCE = re.compile(
    r"^[ \t]*(?P<option>-r|-c|--requirement|--constraint)(?:[ \t]+|[ \t]*=[ \t]*|(?<=-[rc]))(?P<path>[^\s#]+)",
    re.MULTILINE,
)


class Requirements:
    """`requirements*.txt`, `*.in`, constraints, and what their `-r` and `-c` lines name."""

    name = "requirements"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name or folder; files named by `-r` and `-c` are found by the survey."""
        del head
        if path.suffix not in (".txt", ".in", ".pip"):
            return False
        return bool(_NAME.search(path.stem)) or (path.parent.name in _FOLDER)

    def find(self, text: str) -> list[Pin]:
        """The specifier of every requirement of MLflow, and its hashes."""
        return [pin for start, line in logical_lines(text) for pin in _line(text, start, line)]


@dataclass(frozen=True)
class Reference:
    """A line that names another file: its number, the path as written, and whether it is `-c`."""

    line: int
    path: str
    constraint: bool


def references(text: str) -> list[Reference]:
    """The `-r` and `-c` lines."""
    return [
        Reference(text.count("\n", 0, found.start()) + 1, found["path"], found["option"].lstrip("-")[0] == "c")
        for found in _REFERENCE.finditer(text)
    ]


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines joined at a backslash, each with its offset; the text keeps its length."""
    start, pieces, position = 0, "", 0
    for line in text.splitlines(keepends=True):
        if not pieces:
            start = position
        pieces += line
        position += len(line)
        if not line.rstrip("\r\n").endswith("\\"):
            yield start, pieces
            pieces = ""
    if pieces:
        yield start, pieces


def _line(text: str, start: int, line: str) -> Iterator[Pin]:
    bare = _COMMENT.sub(lambda found: " " * len(found[0]), line)
    head = _LINE.match(bare)
    if head is None:
        for pin in tokens.requirements_in(bare) if "://" in bare else ():
            yield Pin(pin.start + start, pin.end + start, pin.text, pin.package, pin.syntax, pin.what)
        return
    requirement = re.split(
        r"\s--hash|\s--config-settings|\s--global-option", bare.replace("\\\n", "  ").replace("\\\r\n", "   ")
    )[0]
    try:
        parsed = Requirement(requirement.strip())
    except InvalidRequirement:
        if "==" in bare or ">=" in bare:
            number = text.count("\n", 0, start) + 1
            raise CannotParse(number, f"not a requirement: {requirement.strip()[:80]}") from None
        return
    package = canonicalize_name(parsed.name)
    if package not in PACKAGES:
        return
    if parsed.url:
        for pin in tokens.requirements_in(bare):
            yield Pin(pin.start + start, pin.end + start, pin.text, pin.package, pin.syntax, pin.what)
        return
    if not parsed.specifier:
        return
    rest = bare[head.end() :]
    specifier = re.match(r"\(?[ \t]*(?P<pin>[=~!<>][^;)\\\r\n]*?)[ \t]*(?=[;)\\\r\n]|--hash|\s--\w|$)", rest)
    if specifier is None:
        raise CannotParse(
            text.count("\n", 0, start) + 1, f"the version in {requirement.strip()[:80]} has no clear place"
        )
    place = start + head.end() + specifier.start("pin")
    marker = str(parsed.marker or "")
    scope = f"marker {marker}" if marker else "no marker"
    yield Pin(
        place, place + len(specifier["pin"]), specifier["pin"], package, Syntax.PEP440, "requirement", scope, marker
    )
    for hashes in _HASHES.finditer(bare):
        at = start + hashes.start()
        yield Pin(at, at + len(hashes[0]), hashes[0], package, Syntax.HASHES, "hashes", marker=marker)
