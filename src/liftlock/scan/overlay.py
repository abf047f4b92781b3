"""The curated facts of `overlay.toml`."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib import resources

from liftlock.model.codec import Value, from_builtins


class Note(Value, frozen=True):
    """What is known of a name, parameter, command, option or endpoint beyond the catalogue.

    `rename` is the word that may stand instead; `safe` says that the meaning is then kept. `deprecated` is the release
    from which on a use warns although nothing in the signature says so.
    """

    match: tuple[str, ...]
    replacement: str
    name: str = ""
    rename: str = ""
    safe: bool = True
    deprecated: str = ""


_Tables = dict[str, list[dict[str, str | bool | list[str]]] | int]


@functools.cache
def _notes(kind: str) -> tuple[Note, ...]:
    text = resources.files("liftlock.scan").joinpath("overlay.toml").read_text("utf-8")
    rows = tomllib.loads(text).get(kind, [])
    notes = []
    for row in rows:
        match = row["match"]
        row["match"] = match.split("|") if isinstance(match, str) else match
        notes.append(from_builtins(row, Note))
    return tuple(notes)


def of_name(path: str) -> Note | None:
    """What is known of an access path."""
    return _first("name", path)


def of_parameter(path: str, name: str) -> Note | None:
    """What is known of a parameter of a callable."""
    return _first("parameter", path, lambda note: name in note.name.split("|"))


def of_command(words: str) -> Note | None:
    """What is known of `experiments list`."""
    return _first("command", words)


def of_option(words: str) -> Note | None:
    """What is known of `run --no-conda`."""
    return _first("option", words)


def of_endpoint(path: str) -> Note | None:
    """What is known of a path, by the part behind `/api/2.0/mlflow/`, or behind `/api/2.0/` for the previews."""
    for note in _notes("endpoint"):
        if any(re.search(rf"(?:^|/){re.escape(match)}", path) for match in note.match):
            return note
    return None


def deprecations() -> Iterable[Note]:
    """Parameters that warn from some release on."""
    return (note for note in _notes("parameter") if note.deprecated)


def _first(kind: str, text: str, also: object = None) -> Note | None:
    for note in _notes(kind):
        if any(fnmatchcase(text, match) for match in note.match) and (not callable(also) or also(note)):
            return note
    return None
