"""Other languages and JSON: what their strings hold, found without understanding the language around them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_STRING = re.compile(r"\"(?P<double>(?:[^\"\\\n]|\\.)*)\"|'(?P<single>(?:[^'\\\n]|\\.)*)'|`(?P<tick>[^`]*)`")
_LIST = re.compile(r"\"mlflow\"\s*(?:,\s*\[?\s*\"[^\"\n]*\"\s*)+")  # of an array or of the arguments of a call
_VARIABLE = re.compile(r"(?<![\w$])[\"']?(?P<name>MLFLOW_[A-Z0-9_]*[A-Z0-9])[\"']?\s*[:=](?![=:])")
_NAMED = re.compile(r"\bname[\"']?\s*[:=]\s*[\"'](?P<name>MLFLOW_[A-Z0-9_]*[A-Z0-9])[\"']")
_COMMENT = re.compile(r"^\s*(?://|#|\*|/\*|--)")
_WIDEST = 2000  # characters of a line; what is wider was written by a program


@dataclass(frozen=True)
class Piece:
    """A piece of a file: `kind` is string, list or variable."""

    kind: str
    start: int
    end: int


def pieces(text: str) -> Iterator[Piece]:
    """The strings, the lists of strings and the variables that are set."""
    for found in _LIST.finditer(text):
        if not _aside(text, found.start()):
            yield Piece("list", *found.span())
    for found in _STRING.finditer(text):
        inner = found[found.lastgroup] if found.lastgroup is not None else ""
        if ("mlflow" in inner or "=pandas-" in inner) and not _aside(text, found.start()):
            yield Piece("string", *found.span(found.lastgroup or 0))
    for pattern in (_VARIABLE, _NAMED):
        for found in pattern.finditer(text):
            if not _aside(text, found.start()):
                yield Piece("variable", *found.span("name"))


def _aside(text: str, place: int) -> bool:
    """Whether a place stands in a comment or in a line no person wrote."""
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    return (end if end >= 0 else len(text)) - start > _WIDEST or _COMMENT.match(text, start, place) is not None
