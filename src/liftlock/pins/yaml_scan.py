"""Where every scalar of a YAML text stands, with its keys: ruamel.yaml composes, and its marks tell the places."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from liftlock.pins.model import CannotParse

Path = tuple[str | int, ...]

_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)*")


@dataclass(frozen=True)
class Scalar:
    """One value: its keys and indexes from the root, its span (quotes and block indicator left out) and that text.

    `document` counts the documents of the file. `owner` maps the keys of the mapping it stands in to their scalar
    values, and `alone` tells whether it is the only element of its sequence (True outside one). `block` tells a
    literal or folded text of several lines.
    """

    document: int
    path: Path
    start: int
    end: int
    text: str
    owner: dict[str, str]
    alone: bool
    block: bool


def documents(text: str) -> list[Any]:
    """The composed nodes of every document. Raises CannotParse with the line."""
    try:
        return list(YAML(typ="rt", pure=True).compose_all(io.StringIO(text, newline="")))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise CannotParse(line, f"not readable as YAML: {error.problem or error.context}") from None
    except (YAMLError, ValueError) as error:
        raise CannotParse(1, f"not readable as YAML: {str(error).splitlines()[0]}") from None


def scalars(text: str) -> list[Scalar]:
    """All values of all documents, in order of place; what an alias repeats is listed once, at its anchor."""
    found: dict[int, Scalar] = {}
    for number, node in enumerate(documents(text)):
        for each in _walk(node, (), {}, True, text, number, set()):
            found.setdefault(each.start, each)
    return [found[start] for start in sorted(found)]


def _walk(
    node: Any, path: Path, owner: dict[str, str], alone: bool, text: str, number: int, seen: set[int]
) -> Iterator[Scalar]:
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, ScalarNode):
        if (scalar := _scalar(node, path, owner, alone, text, number)) is not None:
            yield scalar
    elif isinstance(node, MappingNode):
        mine = {
            key.value: value.value
            for key, value in node.value
            if isinstance(key, ScalarNode) and isinstance(value, ScalarNode)
        }
        for key, value in node.value:
            name = key.value if isinstance(key, ScalarNode) else "?"
            yield from _walk(value, (*path, name), mine, True, text, number, seen)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            yield from _walk(value, (*path, index), owner, len(node.value) == 1, text, number, seen)


def _scalar(node: ScalarNode, path: Path, owner: dict[str, str], alone: bool, text: str, number: int) -> Scalar | None:
    start, end = node.start_mark.index, node.end_mark.index
    if start == end:
        return None  # an empty value has no place
    properties = _PROPERTIES.match(text, start, end)
    start = properties.end() if properties else start
    block = node.style in ("|", ">")
    if node.style in ("'", '"'):
        start, end = start + 1, end - 1
    elif block:
        start = text.index("\n", start, end) + 1 if "\n" in text[start:end] else end
    return Scalar(number, path, start, end, text[start:end], owner, alone, block)
