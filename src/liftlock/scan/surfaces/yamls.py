"""YAML, line by line, so that templates do no harm: commands, lists of words, scripts in block scalars, variables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from liftlock.scan.text import Fragment, line_spans

_BLOCK = re.compile(
    r"^(?P<indent>\s*)(?P<lead>(?:- +)*)(?:(?P<key>[\w.\"'/-]+):)?\s*(?:[&!]\S+\s+)?[|>][-+\d]*\s*(?:#.*)?$"
)
_ENTRY = re.compile(r"^(?P<indent>\s*)(?P<lead>(?:- +)*)(?P<key>[\"']?[\w./-]+[\"']?):(?:\s+(?P<value>.*?))?\s*$")
_ITEM = re.compile(r"^(?P<indent>\s*)(?P<lead>(?:- +)+)(?P<value>\S.*?)\s*$")
_VARIABLE = re.compile(r"^[\"']?(?P<name>MLFLOW_[A-Z0-9_]*[A-Z0-9])[\"']?\s*(?:=|$)")
_FLOW = re.compile(r"[{,]\s*name:\s*[\"']?(?P<name>MLFLOW_[A-Z0-9_]*[A-Z0-9])\b")  # `{name: X, value: ...}`
_COMMANDS = frozenset({
    "command", "cmd", "entrypoint", "run", "script", "args", "before_script", "after_script", "test", "shell",
    "commands", "bash_command", "inline", "execute", "entry", "argv", "exec", "install", "scripts", "start", "deps",
})  # fmt: skip


@dataclass(frozen=True)
class Text:
    """A text that a shell runs."""

    fragment: Fragment
    folded: bool = False


@dataclass(frozen=True)
class Words:
    """A list of words that is run as it is; each as its value (None: a template) and place."""

    words: tuple[tuple[str | None, int, int], ...]


@dataclass(frozen=True)
class Variable:
    """A variable that is set: its name and place."""

    name: str
    start: int
    end: int


def parts(text: str) -> Iterator[Text | Words | Variable]:
    """What may be a use of MLflow in a YAML text."""
    spans = line_spans(text)
    whole = Fragment(text)
    number = 0
    while number < len(spans):
        start, end = spans[number]
        line = text[start:end].rstrip("\r\n")
        if line.lstrip().startswith("#"):
            number += 1
            continue
        if found := _BLOCK.match(line):
            width = len(found["indent"]) + len(found["lead"])
            number, inner = _inner(text, spans, number + 1, width if found["key"] else len(found["indent"]))
            # A folded text is one line; in a script each line is.
            if line.rstrip().rstrip("-+0123456789").endswith(">") and not _lines(text, inner):
                inner = [(first, last - 1 if text[last - 1 : last] == "\n" else last) for first, last in inner]
                yield Text(whole.joined(inner), folded=True)
            else:
                yield Text(whole.dedented(inner))
            continue
        if (entry := _ENTRY.match(line)) is not None:
            yield from _entry(text, start, entry)
            key = entry["key"].strip("\"'")
            if not entry["value"] and key in _COMMANDS:
                number, words = _list(text, spans, number + 1, len(entry["indent"]) + len(entry["lead"]))
                if words:
                    yield Words(tuple(words))
                continue
        elif (item := _ITEM.match(line)) is not None:
            place = start + item.start("value")
            for flow in _FLOW.finditer(item["value"]):
                yield Variable(flow["name"], place + flow.start("name"), place + flow.end("name"))
            if named := _VARIABLE.match(item["value"]):
                yield Variable(named["name"], place + named.start("name"), place + named.end("name"))
            else:
                yield from _scalar(text, place, item["value"])
        number += 1


def _lines(text: str, spans: list[tuple[int, int]]) -> bool:
    """Whether a folded text has lines of its own: empty ones between them."""
    return any(not text[slice(*span)].strip() for span in spans[:-1])


def _entry(text: str, start: int, entry: re.Match[str]) -> Iterator[Text | Words | Variable]:
    key, value = entry["key"].strip("\"'"), entry["value"] or ""
    place = start + entry.start("value") if value else start
    if re.fullmatch(r"MLFLOW_[A-Z0-9_]*[A-Z0-9]", key):
        offset = start + entry.start("key") + (1 if entry["key"][0] in "\"'" else 0)
        yield Variable(key, offset, offset + len(key))
    elif key == "name" and re.fullmatch(r"[\"']?MLFLOW_[A-Z0-9_]*[A-Z0-9][\"']?", value):
        bare = value.strip("\"'")
        offset = place + (1 if value[0] in "\"'" else 0)
        yield Variable(bare, offset, offset + len(bare))
    elif value:
        yield from _scalar(text, place, value)


def _scalar(text: str, place: int, value: str) -> Iterator[Text | Words]:
    """A value on its line: a flow list of words, or a text."""
    if value.startswith("["):
        closing = text.find("]", place)
        if closing > 0:
            words = [
                (_value(each[0]), place + each.start(), place + each.end())
                for each in re.finditer(r"\"(?:[^\"\\]|\\.)*\"|'[^']*'|[^\s,\[\]\"']+", text[place:closing])
            ]
            yield Words(tuple(words))
        return
    if "mlflow" not in value and "api/" not in value:
        return
    if value[0] in "\"'" and len(value) > 1 and value.endswith(value[0]):
        yield Text(Fragment(text).part(place + 1, place + len(value) - 1))
    else:
        cut = re.search(r"\s#", value)
        yield Text(Fragment(text).part(place, place + (cut.start() if cut else len(value))))


def _value(word: str) -> str | None:
    bare = word[1:-1] if word[0] in "\"'" else word
    return None if "$" in bare or "{{" in bare else bare


def _list(
    text: str, spans: list[tuple[int, int]], number: int, indent: int
) -> tuple[int, list[tuple[str | None, int, int]]]:
    """The items of a block list of plain scalars; an empty list when it is something else."""
    words: list[tuple[str | None, int, int]] = []
    first = number
    while number < len(spans):
        start, end = spans[number]
        line = text[start:end].rstrip("\r\n")
        if not line.strip() or line.lstrip().startswith(("#", "{{-", "{{ ", "{{if", "{{end")):
            number += 1
            continue
        item = _ITEM.match(line)
        if item is None or len(item["indent"]) < indent:
            break
        value = item["value"]
        if (
            re.match(r"[|>][-+]?$", value)
            or (" " in value and value[0] not in "\"'" and not value.startswith("{{"))
            or re.match(r"[\w-]+:(?:\s|$)", value)
        ):
            return first, []
        inner = value[1:-1] if value[0] in "\"'" and value.endswith(value[0]) else value
        if " " in inner and not inner.startswith("{{"):
            return first, []
        place = start + item.start("value")
        words.append((_value(value), place, place + len(value)))
        number += 1
    return (number, words) if words else (first, [])


def _inner(text: str, spans: list[tuple[int, int]], number: int, indent: int) -> tuple[int, list[tuple[int, int]]]:
    inner: list[tuple[int, int]] = []
    while number < len(spans):
        line = text[slice(*spans[number])]
        if line.strip() and len(line) - len(line.lstrip(" ")) <= indent:
            break
        inner.append(spans[number])
        number += 1
    return number, inner
