"""Databricks notebooks exported as source: cells in comments (`# MAGIC %python`, `%sh`, `%md`), in any language."""

from __future__ import annotations

import re

from liftlock.scan.surfaces.notebook import Notebook
from liftlock.scan.text import Fragment, line_spans

_HEADER = re.compile(r"\ufeff?(?P<comment>#|--|//) Databricks notebook source\b")
_CELL = re.compile(r"(?:#|--|//) COMMAND -+\s*$")
_MAGIC = re.compile(r"(?:#|--|//) MAGIC(?: |(?=\r?$))")
_WORD = re.compile(r"%%?(?P<language>\w+)[ \t]*(?P<rest>.*)")
_SHELLS = frozenset({"sh", "bash", "pip"})


def is_exported(text: str) -> bool:
    """Whether a source file is such a notebook."""
    return _HEADER.match(text) is not None


def read(text: str, *, python: bool) -> Notebook:
    """Take an exported notebook apart; `python` says that what stands in no magic cell is Python."""
    whole = Fragment(text)
    kept: list[tuple[int, int]] = []
    book = Notebook(Fragment("", []))
    cell: list[tuple[int, int]] = []
    spans = line_spans(text)
    for number, (start, end) in enumerate([*spans, (len(text), len(text))]):
        line = text[start:end].rstrip("\r\n")
        if number == len(spans) or _CELL.match(line):
            kept += _cell(whole, cell, book, python=python)
            cell = []
        else:
            cell.append((start, end))
    book.python = whole.joined(kept)
    return book


def _cell(whole: Fragment, spans: list[tuple[int, int]], book: Notebook, *, python: bool) -> list[tuple[int, int]]:
    """Puts the shell and the documents of a cell into the book; the lines that are Python."""
    bare: list[tuple[int, int]] = []
    inner: list[tuple[int, int]] = []
    language, rest = "", (0, 0)
    for start, end in spans:
        line = whole.text[start:end]
        magic = _MAGIC.match(line)
        if magic is None:
            bare.append((start, end))
            continue
        place = start + magic.end()
        word = _WORD.match(whole.text[place:end].rstrip("\r\n")) if not language else None
        if word is not None:
            language, rest = word["language"], (place + word.start("rest"), place + word.end("rest"))
        else:
            inner.append((place, end))
    if language == "run":
        book.runs.append(whole.text[slice(*rest)].split("$")[0].strip().strip("\"'"))
    elif language in _SHELLS:
        first = (rest[0] - len("pip "), rest[1]) if language == "pip" else rest
        book.shell.append(whole.joined([(first[0], min(first[1] + 1, len(whole.text))), *inner]))
    elif language.startswith("md"):
        book.docs.append(whole.joined([(rest[0], min(rest[1] + 1, len(whole.text))), *inner]))
    elif language == "python":
        return [(rest[0], min(rest[1] + 1, len(whole.text))), *inner]
    return bare if python else []
