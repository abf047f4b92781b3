"""Curated breaking changes, each with what to use instead and where that was read (`data/breaks.toml`)."""

from __future__ import annotations

import enum
import functools
import tomllib
from importlib import resources

from liftlock.errors import UsageError
from liftlock.model.codec import Value, from_builtins
from liftlock.model.release import Release


class Kind(enum.StrEnum):
    """What kind of name it is. `parameter` concerns parameters of the function or class at `path`."""

    FUNCTION = "function"
    METHOD = "method"
    CLASS = "class"
    MODULE = "module"
    ATTRIBUTE = "attribute"
    PARAMETER = "parameter"
    CLI = "cli"
    OPTION = "option"
    REST = "rest"
    ENVIRONMENT = "environment"


class Effect(enum.StrEnum):
    """What happens to code that still uses it: it raises, it is ignored or means something else, or it warns."""

    ERROR = "error"
    SILENT = "silent"
    DEPRECATED = "deprecated"


class Break(Value, frozen=True):
    """One break. `removed` is the first release without it, or the first that warns; `executed`: seen failing.

    For those who change code: `rename` is the word that may stand instead of the last part of `path` (or of the first
    of `parameters`), `safe` says that the meaning is then kept, `moved` is the whole path it has now. `also` are
    patterns (`*` is any text) of further paths of which the row holds, where the catalogue says that they changed.
    """

    kind: Kind
    path: str
    removed: str
    effect: Effect
    replacement: str
    source: str
    parameters: tuple[str, ...] = ()
    executed: bool = False
    note: str = ""
    rename: str = ""
    safe: bool = True
    moved: str = ""
    also: tuple[str, ...] = ()

    @property
    def release(self) -> Release:
        """The first release without it."""
        return Release(version=self.removed)


class Never(Value, frozen=True):
    """A command people write that no release ever had, and what they may have meant."""

    path: str
    replacement: str
    source: str


class _Table(Value, frozen=True, rename={"entries": "break"}):
    format: int
    entries: tuple[Break, ...]
    never: tuple[Never, ...] = ()


@functools.cache
def load() -> tuple[Break, ...]:
    """All breaks, as the file has them."""
    return parse(_text(), "breaks.toml")


@functools.cache
def never() -> tuple[Never, ...]:
    """Commands that never were."""
    return from_builtins(tomllib.loads(_text()), _Table).never


def _text() -> str:
    return resources.files("liftlock.knowledge").joinpath("data/breaks.toml").read_text(encoding="utf-8")


def parse(text: str, name: str) -> tuple[Break, ...]:
    """The breaks in TOML text. Raises UsageError with the file and the reason."""
    try:
        entries = from_builtins(tomllib.loads(text), _Table).entries
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    seen: set[tuple[object, ...]] = set()
    for entry in entries:
        Release.parse(entry.removed)
        key = (entry.kind, entry.path, entry.parameters, entry.removed)
        if key in seen:
            raise UsageError(f"{name}: {entry.path} of {entry.removed} is there twice")
        if (entry.kind is Kind.PARAMETER) != bool(entry.parameters):
            raise UsageError(f"{name}: {entry.path}: parameters belong to the kind `parameter`, and only there")
        seen.add(key)
    return entries


def between(source: Release, target: Release) -> tuple[Break, ...]:
    """What breaks on the way from one release to a newer one: there in the old, gone in the new."""
    return tuple(
        entry for entry in load() if entry.effect is not Effect.DEPRECATED and source < entry.release <= target
    )


def deprecated(target: Release) -> tuple[Break, ...]:
    """What a release still accepts with a warning."""
    return tuple(entry for entry in load() if entry.effect is Effect.DEPRECATED and entry.release <= target)
