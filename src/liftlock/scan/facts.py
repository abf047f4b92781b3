"""The curated facts of `knowledge/data/breaks.toml`, asked by what is written in code.

Existence and signatures come from the catalogue; a row adds what to use instead, and may say that a use warns.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from fnmatch import fnmatchcase

from liftlock.knowledge import breaks
from liftlock.knowledge.breaks import Break, Effect, Kind, Never
from liftlock.scan.python import objects

_PYTHON = frozenset({Kind.FUNCTION, Kind.METHOD, Kind.CLASS, Kind.MODULE, Kind.ATTRIBUTE})


class Note:
    """What is known of a name, parameter, command, option or endpoint beyond the catalogue.

    `rename` is the word that may stand instead, `safe` says that the meaning is then kept, `moved` is the path it has
    now. `deprecated` is the release from which on a use warns although nothing in the signature says so.
    """

    def __init__(self, row: Break | Never) -> None:
        self.replacement = row.replacement
        self.rename = row.rename if isinstance(row, Break) else ""
        self.safe = row.safe if isinstance(row, Break) else True
        self.moved = row.moved if isinstance(row, Break) else ""
        self.deprecated = row.removed if isinstance(row, Break) and row.effect is Effect.DEPRECATED else ""

    def of(self, row: Break, name: str) -> Note:
        """The same for one parameter of a row: only the first is renamed."""
        if name == row.parameters[0]:
            return self
        other = Note(row)
        other.rename = ""
        return other


@functools.cache
def of_name(path: str) -> Note | None:
    """What is known of a typed path; what is below a module that is gone went with it."""
    known = objects.plain(path)
    row = _names().get(known)
    if row is None:
        row = next((each for each in _patterns() if _also(each, known)), None)
    while row is None and "." in known:
        known = known.rpartition(".")[0]
        above = _names().get(known)
        gone = above is not None and above.kind is Kind.MODULE and above.effect is not Effect.DEPRECATED
        row = above if gone else None
    return Note(row) if row is not None else None


@functools.cache
def of_parameter(path: str, name: str) -> Note | None:
    """What is known of a parameter of a callable."""
    rows = _parameters().get(name, ())
    known = objects.plain(path.removesuffix(".__init__"))
    exact = next((row for row in rows if objects.plain(row.path) == known), None)
    row = exact or next((row for row in rows if _also(row, known)), None)
    return Note(row).of(row, name) if row is not None else None


@functools.cache
def of_command(words: str) -> Note | None:
    """What is known of `experiments list`."""
    never = next((each for each in breaks.never() if each.path == words), None)
    return Note(never) if never is not None else _word(Kind.CLI, words)


@functools.cache
def of_option(words: str) -> Note | None:
    """What is known of `run --no-conda`."""
    return _word(Kind.OPTION, words)


@functools.cache
def of_variable(name: str) -> Note | None:
    """What is known of an environment variable."""
    return _word(Kind.ENVIRONMENT, name)


@functools.cache
def of_endpoint(path: str) -> Note | None:
    """What is known of a path of the REST API, whatever the method and prefix."""
    plain = path.replace("/ajax-api/", "/api/")
    plain += "/" if plain.endswith("/preview/mlflow") else ""
    return next(
        (
            Note(row)
            for row in breaks.load()
            if row.kind is Kind.REST
            and (plain == row.path.partition(" ")[2] or any(fnmatchcase(f"* {plain}", each) for each in row.also))
        ),
        None,
    )


def _word(kind: Kind, words: str) -> Note | None:
    row = next((row for row in breaks.load() if row.kind is kind and (row.path == words or words in row.also)), None)
    return Note(row) if row is not None else None


@functools.cache
def _names() -> dict[str, Break]:
    return {objects.plain(row.path): row for row in _rows()}


@functools.cache
def _patterns() -> tuple[Break, ...]:
    return tuple(row for row in _rows() if row.also)


@functools.cache
def _parameters() -> dict[str, list[Break]]:
    found: dict[str, list[Break]] = {}
    for row in breaks.load():
        for name in row.parameters:
            found.setdefault(name, []).append(row)
    return found


def _rows() -> Iterator[Break]:
    return (row for row in breaks.load() if row.kind in _PYTHON)


def _also(row: Break, path: str) -> bool:
    return any(fnmatchcase(path, each) for each in row.also)
