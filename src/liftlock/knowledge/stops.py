"""Required stops on the way between two releases, each with its reason (`data/stops.toml`; today there is none)."""

from __future__ import annotations

import functools
import tomllib
from importlib import resources

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from liftlock.errors import UsageError
from liftlock.model.codec import Value, from_builtins
from liftlock.model.release import Release

NONE = "every release carries the whole line of migrations, so no release in between is needed"


class Stop(Value, frozen=True):
    """Who goes from a release matching `before` to one matching `after` must stand on `at` in between."""

    at: str
    before: str = msgspec.field(name="from")
    after: str = msgspec.field(name="to")
    reason: str
    source: str

    @property
    def release(self) -> Release:
        """The release to stand on."""
        return Release(version=self.at)


class _Table(Value, frozen=True):
    format: int
    stop: tuple[Stop, ...]


@functools.cache
def load() -> tuple[Stop, ...]:
    """All stops, as the file has them."""
    text = resources.files("liftlock.knowledge").joinpath("data/stops.toml").read_text(encoding="utf-8")
    return parse(text, "stops.toml")


def parse(text: str, name: str) -> tuple[Stop, ...]:
    """The stops in TOML text. Raises UsageError with the file and what is wrong; a stop without a reason is wrong."""
    try:
        entries = from_builtins(tomllib.loads(text), _Table).stop
        for entry in entries:
            SpecifierSet(entry.before)
            SpecifierSet(entry.after)
    except (ValueError, InvalidSpecifier) as error:
        raise UsageError(f"{name}: {error}") from error
    for entry in entries:
        Release.parse(entry.at)
        if not entry.reason.strip() or not entry.source.strip():
            raise UsageError(f"{name}: the stop at {entry.at} has no reason or no source")
    return entries


def between(source: Release, target: Release, table: tuple[Stop, ...] | None = None) -> tuple[Stop, ...]:
    """The stops on one way, oldest first; `table` instead of the shipped one. A stop lies strictly in between."""
    found = [
        stop
        for stop in (load() if table is None else table)
        if source < stop.release < target
        and SpecifierSet(stop.before).contains(source.key, prereleases=True)
        and SpecifierSet(stop.after).contains(target.key, prereleases=True)
    ]
    return tuple(sorted(found, key=lambda stop: stop.release.key))
