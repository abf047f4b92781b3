"""Markdown, reStructuredText and plain text: fenced and literal blocks, and inline code; prose is not judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from liftlock.scan.text import Fragment, line_spans

_FENCE = re.compile(
    r"^(?P<indent>[ \t>]*)(?P<mark>`{3,}|~{3,})[ \t]*(?:\{code[\w-]*\}[ \t]*|\{?\.?)?(?P<language>[\w+.-]*)"
)
_DIRECTIVE = re.compile(
    r"^(?P<indent>[ \t]*)\.\. (?:code-block|code|sourcecode|highlight|prompt|ipython|testcode)::"
    r"[ \t]*(?P<language>[\w+-]*)"
)
_LITERAL = re.compile(r"^(?P<indent>[ \t]*)[^\s].*::[ \t]*$")
_ADOC = re.compile(r"^\[source,\s*(?P<language>\w+)")
_INLINE = re.compile(r"(?<!`)(?P<mark>`{1,2})(?!`)(?P<code>[^`\n]+?)(?P=mark)(?!`)|<code>(?P<html>[^<\n]+)</code>")
PROSE = re.compile(r"(?<=\s)[A-Za-z]{2,}\s+[A-Za-z]{2,}(?=\s|$)")  # two words of English behind a command


@dataclass(frozen=True)
class Block:
    """A block of code, its language in lower case (empty: not said), and whether it stands inside a line."""

    fragment: Fragment
    language: str
    inline: bool = False


def blocks(text: str) -> Iterator[Block]:
    """All code of a document, in order of place."""
    spans = line_spans(text)
    number = 0
    while number < len(spans):
        start, end = spans[number]
        line = text[start:end]
        if fence := _FENCE.match(line):
            number, inner = _fenced(text, spans, number + 1, fence["mark"])
            yield Block(Fragment(text).dedented(inner), fence["language"].lower())
            continue
        if found := _DIRECTIVE.match(line):
            number, inner = _indented(text, spans, number + 1, len(found["indent"]))
            yield Block(Fragment(text).dedented(inner), found["language"].lower())
            continue
        if (
            (found := _ADOC.match(line))
            and number + 1 < len(spans)
            and text[slice(*spans[number + 1])].strip() == "----"
        ):
            inner, place = [], number + 2
            while place < len(spans) and text[slice(*spans[place])].strip() != "----":
                inner.append(spans[place])
                place += 1
            number = place + 1
            yield Block(Fragment(text).dedented(inner), found["language"].lower())
            continue
        for code in _INLINE.finditer(line):
            first, last = code.span("html" if code["html"] else "code")
            yield Block(Fragment(text).part(start + first, start + last), "", inline=True)
        if re.match(r"[ \t]*>>> ", line):
            inner = []
            while number < len(spans) and text[slice(*spans[number])].strip():
                inner.append(spans[number])
                number += 1
            yield Block(Fragment(text).dedented(inner), "pycon")
            continue
        if found := _LITERAL.match(line):
            number, inner = _indented(text, spans, number + 1, len(found["indent"]))
            if inner:
                yield Block(Fragment(text).dedented(inner), "")
            continue
        if (place := _bare(line)) >= 0:
            yield Block(Fragment(text).part(start + place, end), "console")
        number += 1


def _bare(line: str) -> int:
    """Where in a line of a plain text a command stands that is all of it, or -1."""
    found = re.match(r"\s*(?:[$>%]\s*)*(?P<command>curl\s+\S|mlflow [a-z][a-z-]* .*[-<:/])", line)
    if found is not None and found["command"].startswith("curl"):
        return found.start("command")
    whole = found is not None and not line.rstrip().endswith((".", ",")) and not PROSE.search(line)
    return found.start("command") if whole and found is not None else -1


def _fenced(text: str, spans: list[tuple[int, int]], number: int, mark: str) -> tuple[int, list[tuple[int, int]]]:
    inner: list[tuple[int, int]] = []
    while number < len(spans):
        line = text[slice(*spans[number])].strip().lstrip("> ")
        number += 1
        if line.startswith(mark) and not line.strip(mark[0]):
            break
        inner.append(spans[number - 1])
    return number, inner


def _indented(text: str, spans: list[tuple[int, int]], number: int, indent: int) -> tuple[int, list[tuple[int, int]]]:
    inner: list[tuple[int, int]] = []
    started = False
    while number < len(spans):
        line = text[slice(*spans[number])]
        width = len(line) - len(line.lstrip(" \t"))
        if line.strip() and width <= indent:
            break
        if started or (line.strip() and not re.match(r"\s*:[\w-]+:", line)):
            started = True
            inner.append(spans[number])
        number += 1
    while inner and not text[slice(*inner[-1])].strip():
        inner.pop()
    return number, inner
