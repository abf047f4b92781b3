"""What a release needs today that its metadata does not say: constraints, Pythons, database drivers.

Facts from `data/constraints.toml`, where each carries its reason. Pure lookups.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection, Mapping
from importlib import resources

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from liftlock.model.codec import Value, from_builtins
from liftlock.model.release import Release
from liftlock.model.uri import Engine


class Constraint(Value, frozen=True):
    """A bound on a dependency for the MLflow versions that match `releases`; `install` adds the package too."""

    requirement: str
    releases: str
    reason: str
    install: bool = False


class PythonRange(Value, frozen=True):
    """The Pythons (`3.8` to `3.11`, both included) that releases matching `releases` run on."""

    releases: str
    minimum: str
    maximum: str

    def holds(self, version: str) -> bool:
        """Whether a Python version (`3.11` or `3.11.7`) lies in the range."""
        minor = Version(".".join(version.split(".")[:2]))
        return Version(self.minimum) <= minor <= Version(self.maximum)

    def minors(self) -> tuple[str, ...]:
        """All minors of the range, newest first."""
        low, high = (int(text.split(".")[1]) for text in (self.minimum, self.maximum))
        return tuple(f"3.{minor}" for minor in range(high, low - 1, -1))


class Driver(Value, frozen=True):
    """A database driver to install for an engine; `when` is a requirement that the resolution must satisfy."""

    engine: Engine
    requirement: str
    reason: str
    when: str = ""


class _Data(Value, frozen=True):
    format: int
    constraint: tuple[Constraint, ...]
    python: tuple[PythonRange, ...]
    driver: tuple[Driver, ...]


@functools.cache
def _data() -> _Data:
    text = resources.files("liftlock.knowledge").joinpath("data/constraints.toml").read_text(encoding="utf-8")
    return from_builtins(tomllib.loads(text), _Data)


def _matches(releases: str, release: Release) -> bool:
    return SpecifierSet(releases).contains(release.key, prereleases=True)


def constraints(release: Release) -> tuple[str, ...]:
    """Requirements that bound what the release pulls in, such as `sqlalchemy<2.1`."""
    return tuple(entry.requirement for entry in _data().constraint if _matches(entry.releases, release))


def traps(release: Release) -> tuple[Constraint, ...]:
    """The same bounds with their reasons."""
    return tuple(entry for entry in _data().constraint if _matches(entry.releases, release))


def bounds() -> tuple[Constraint, ...]:
    """All bounds that are known, with the releases they are for."""
    return _data().constraint


def undeclared(release: Release) -> tuple[str, ...]:
    """Requirements to install although the release does not declare them, such as `setuptools<81`."""
    return tuple(
        entry.requirement for entry in _data().constraint if entry.install and _matches(entry.releases, release)
    )


def python_range(release: Release) -> PythonRange:
    """The Pythons this release runs on; a release newer than the table gets the newest entry's range."""
    entries = _data().python
    return next((entry for entry in entries if _matches(entry.releases, release)), entries[-1])


def drivers(engines: Collection[Engine], resolved: Mapping[str, str]) -> tuple[str, ...]:
    """Driver requirements for these engines, given resolved versions by canonical name (empty at first)."""
    wanted = []
    for entry in _data().driver:
        if entry.engine in engines and (not entry.when or _satisfied(entry.when, resolved)):
            wanted.append(entry.requirement)
    return tuple(wanted)


def _satisfied(requirement: str, resolved: Mapping[str, str]) -> bool:
    wanted = Requirement(requirement)
    version = resolved.get(canonicalize_name(wanted.name))
    return version is not None and wanted.specifier.contains(version, prereleases=True)
