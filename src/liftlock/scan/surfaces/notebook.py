"""Jupyter notebooks: code cells joined into one Python text, magics and `!` lines apart; every place kept."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from liftlock.scan.text import Fragment, Piece, line_spans

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_SHELL_CELL = re.compile(r"%%(?:bash|sh|script|!)\b")
_PYTHON_CELL = re.compile(r"%%(?:time|timeit|capture|prun|python3?|memit|writefile|file|ignite|local|configure)\b")
_RUN = re.compile(r"^\s*%run\s+(?:-\w+\s+)*[\"']?(?P<path>[^\s\"']+)", re.MULTILINE)


@dataclass
class Notebook:
    """The parts of a notebook as fragments of its file."""

    python: Fragment
    shell: list[Fragment] = field(default_factory=list)
    docs: list[Fragment] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


def read(text: str) -> Notebook:
    """Take a notebook apart. Raises ValueError when it is none."""
    joined: list[tuple[str, list[Piece]]] = []
    book = Notebook(Fragment("", []))
    for kind, cell in _cells(text):
        if kind == "markdown":
            book.docs.append(cell)
            continue
        if kind != "code":
            continue
        first = cell.text.lstrip()
        if _SHELL_CELL.match(first):
            start = cell.text.find("\n") + 1
            if start:
                book.shell.append(cell.part(start, len(cell.text)))
            continue
        if first.startswith("%%") and not _PYTHON_CELL.match(first):
            continue
        written = re.match(r"%%(?:writefile|file)\s+(?:-a\s+)?(?P<path>\S+)", first)
        if written is not None and not written["path"].endswith(".py"):
            if written["path"].endswith((".sh", ".bash")):
                book.shell.append(cell.part(cell.text.find("\n") + 1, len(cell.text)))
            continue
        book.runs += [found["path"] for found in _RUN.finditer(cell.text)]
        joined.append(_neutral(cell, book))
    book.python = concatenated(joined)
    return book


def _cells(text: str) -> Iterator[tuple[str, Fragment]]:
    """The type and source of every cell, found by walking the JSON's tokens."""
    tokens = _TOKEN.finditer(text)
    depth, in_cells, kind, source, cell_depth = 0, False, "", Fragment("", []), 0
    key, seen_any = "", False
    for token in tokens:
        word = token[0]
        if word in "{[":
            depth += 1
            if word == "[" and key == "cells":
                in_cells, cell_depth, seen_any = True, depth, True
            elif in_cells and word == "{" and depth == cell_depth + 1:
                kind, source = "", Fragment("", [])
            elif in_cells and word == "[" and key == "source" and depth == cell_depth + 2:
                source = concatenated([_decoded(part) for part in _strings(tokens)])
                depth -= 1
            key = ""
        elif word in "}]":
            depth -= 1
            if in_cells and word == "}" and depth == cell_depth:
                yield kind, source
            if in_cells and depth < cell_depth:
                in_cells = False
            key = ""
        elif word == ":":
            continue
        elif word == ",":
            key = ""
        elif word.startswith('"'):
            if not key:
                key = word[1:-1]
            elif in_cells and depth == cell_depth + 1 and key == "cell_type":
                kind = word[1:-1]
            elif in_cells and depth == cell_depth + 1 and key == "source":
                source = concatenated([_decoded(token)])
    if not seen_any:
        raise ValueError("no notebook: it has no cells")


def _strings(tokens: Iterator[re.Match[str]]) -> Iterator[re.Match[str]]:
    for token in tokens:
        if token[0] == "]":
            return
        if token[0].startswith('"'):
            yield token


def _decoded(token: re.Match[str]) -> tuple[str, list[Piece]]:
    """A JSON string decoded, with the place of every run without escapes."""
    body, base = token[0][1:-1], token.start() + 1
    if "\\" not in body:
        return body, [Piece(0, base, len(body))] if body else []
    parts: list[str] = []
    pieces: list[Piece] = []
    length = place = 0
    for found in _ESCAPE.finditer(body):
        run = body[place : found.start()]
        if run:
            pieces.append(Piece(length, base + place, len(run)))
            parts.append(run)
            length += len(run)
        character = chr(int(found[1], 16)) if found[1] else _PLAIN.get(found[2], found[2])
        pieces.append(Piece(length, base + found.start(), 1))
        parts.append(character)
        length += 1
        place = found.end()
    if body[place:]:
        pieces.append(Piece(length, base + place, len(body) - place))
        parts.append(body[place:])
    return "".join(parts), pieces


def concatenated(parts: Iterable[tuple[str, list[Piece]]]) -> Fragment:
    """Texts with the places of their pieces in a file, put behind each other."""
    texts: list[str] = []
    pieces: list[Piece] = []
    length = 0
    for text, own in parts:
        texts.append(text)
        pieces += [Piece(piece.place + length, piece.raw, piece.length) for piece in own]
        length += len(text)
    return Fragment("".join(texts), pieces)


def _neutral(cell: Fragment, book: Notebook) -> tuple[str, list[Piece]]:
    """A code cell with its magics turned into comments of the same length; `!` lines are shell."""
    lines: list[str] = []
    for start, end in line_spans(cell.text):
        line = cell.text[start:end]
        body = line.lstrip()
        found = re.match(r"(?:[\w, ]+=\s*)?!+|%(?:sh|system|sx|bash)\s|%(?=(?:pip|conda|uv)\s)|%(?:set_)?env\s", body)
        if found is not None:
            offset = start + len(line) - len(body) + found.end()
            book.shell.append(cell.part(offset, end))
        if found is not None or body.startswith(("%", "?")) or re.match(r"[\w.]+\?+\s*$", body):
            indent = len(line) - len(body)
            ending = "\n" if line.endswith("\n") else ""
            width = len(line) - indent - len(ending)
            lines.append(line[:indent] + ("pass" + " " * (width - 4) if width >= 4 else " " * width) + ending)
        else:
            lines.append(line)
    text = "".join(lines)
    pieces = list(cell.pieces)
    if not text.endswith("\n"):
        text += "\n"
    return text, pieces
