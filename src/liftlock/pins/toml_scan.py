"""Where every string of a TOML text stands: tomllib reads the values but forgets their places.

A small reader of TOML's grammar walks the text once; `strings` then proves each place against what tomllib read, so
a mistake here is an error and never a wrong edit.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from liftlock.pins.model import CannotParse

Path = tuple[str | int, ...]

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\r\n]+")
_STRINGS = (
    re.compile(r'"""(?:\r?\n)?(?P<body>(?:[^\\]|\\.)*?)"""(?!")', re.DOTALL),
    re.compile(r"'''(?:\r?\n)?(?P<body>.*?)'''(?!')", re.DOTALL),
    re.compile(r'"(?P<body>(?:[^"\\\n]|\\.)*)"'),
    re.compile(r"'(?P<body>[^'\n]*)'"),
)


@dataclass(frozen=True)
class Text:
    """One string value: its keys and indexes from the root, the span between its quotes, and that text."""

    path: Path
    start: int
    end: int
    text: str


def load(text: str) -> dict[str, Any]:
    """The values. Raises CannotParse with the line."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        number = int(line[1]) if line else text.count("\n") + 1
        raise CannotParse(number, f"not readable as TOML: {str(error).split(' (at ')[0]}") from None


def strings(text: str) -> list[Text]:
    """All strings written without escapes, in order of place. Raises CannotParse."""
    values = load(text)
    found = []
    for each in _Reader(text).read():
        if "\\" in each.text:
            continue  # an escape moves the places inside; no version needs one
        if _at(values, each.path) != each.text.replace("\r\n", "\n"):
            line = text.count("\n", 0, each.start) + 1
            raise CannotParse(line, f"the place of {'.'.join(map(str, each.path))} is not certain")
        found.append(each)
    return found


def _at(values: Any, path: Path) -> Any:
    for step in path:
        values = values[step]
    return values


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._found: list[Text] = []
        self._tables: dict[Path, int] = {}

    def read(self) -> list[Text]:
        table: Path = ()
        while True:
            self._skip(_SPACE)
            if self._at >= len(self._text):
                return self._found
            if self._peek("["):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        many = self._text.startswith("[[", self._at)
        self._at += 2 if many else 1
        keys = list(self._keys("]"))
        self._at += 2 if many else 1
        path: Path = ()
        for place, key in enumerate(keys):
            path = (*path, key)
            last = place == len(keys) - 1
            if many and last:
                self._tables[path] = self._tables.get(path, -1) + 1
            if path in self._tables:
                path = (*path, self._tables[path])
        return path

    def _pair(self, table: Path) -> None:
        keys = tuple(self._keys("="))
        self._at += 1
        self._skip(_BLANK)
        self._value((*table, *keys))

    def _keys(self, end: str) -> Iterator[str]:
        while True:
            self._skip(_BLANK)
            if found := _BARE.match(self._text, self._at):
                yield found[0]
            elif found := next((m for p in _STRINGS[2:] if (m := p.match(self._text, self._at))), None):
                yield load(f"k = {found[0]}")["k"]
            else:
                raise self._lost()
            self._at = found.end()
            self._skip(_BLANK)
            if self._peek(end):
                return
            if not self._peek("."):
                raise self._lost()
            self._at += 1

    def _value(self, path: Path) -> None:
        for pattern in _STRINGS:
            if found := pattern.match(self._text, self._at):
                self._found.append(Text(path, found.start("body"), found.end("body"), found["body"]))
                self._at = found.end()
                return
        if self._peek("["):
            self._array(path)
        elif self._peek("{"):
            self._inline(path)
        elif found := _SCALAR.match(self._text, self._at):
            self._at = found.end()
        else:
            raise self._lost()

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_SPACE)
            if self._peek("]"):
                self._at += 1
                return
            self._value((*path, index))
            index += 1
            self._skip(_SPACE)
            if self._peek(","):
                self._at += 1

    def _inline(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_SPACE)
            if self._peek("}"):
                self._at += 1
                return
            self._pair(path)
            self._skip(_SPACE)
            if self._peek(","):
                self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _peek(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _lost(self) -> CannotParse:
        return CannotParse(self._text.count("\n", 0, self._at) + 1, "TOML that liftlock cannot take apart")
