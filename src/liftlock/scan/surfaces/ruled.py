"""What the curated rules find in scripts and configuration: words anywhere, and values of variables."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from liftlock.scan.hits import Hit, Tools

_COMMENT = re.compile(r"(?:^|\s)(?:#|//)")


def hits(text: str, tools: Tools) -> Iterator[Hit]:
    """Uses in a text of any kind whose comments begin with `#`."""
    for judgement, start, end, new in tools.rules.text(text):
        if not _in_comment(text, start):
            yield Hit(judgement, start, end, ((start, end, new),) if new is not None else ())
    if "MLFLOW_" not in text or not tools.rules.variables:
        return
    for found in _values(tools.rules.variables).finditer(text):
        if not _in_comment(text, found.start()):
            for judgement in tools.rules.value(found["name"] or found["spaced"], found["value"]):
                yield Hit(judgement, *found.span("value"))


@functools.cache
def _values(names: frozenset[str]) -> re.Pattern[str]:
    """`NAME=value`, `NAME: value`, `name: NAME` with `value:` below, `${NAME:-value}`, `ENV NAME value`."""
    assigned = r"[\"']?(?:\s*[?:+]?=\s*|\s*:\s+|:-|\s+value:\s*)"
    named = "|".join(sorted(names))
    before = rf"(?:(?<![\w$])(?P<name>{named})\b{assigned}|^\s*ENV\s+(?P<spaced>{named})\s+)"
    return re.compile(rf"{before}[\"']?(?P<value>[^\s\"'#,}}]+)", re.MULTILINE)


def _in_comment(text: str, place: int) -> bool:
    return _COMMENT.search(text[text.rfind("\n", 0, place) + 1 : place]) is not None
