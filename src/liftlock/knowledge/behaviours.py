"""Changes of behaviour an operator notices although no name went away (`data/behaviours.toml`)."""

from __future__ import annotations

import enum
import functools
import tomllib
from collections.abc import Collection, Mapping
from importlib import resources

from liftlock.errors import UsageError
from liftlock.knowledge import features
from liftlock.model.codec import Value, from_builtins
from liftlock.model.release import Release


class Who(enum.StrEnum):
    """Whose side changes."""

    SERVER = "server"
    CLIENT = "client"


class Behaviour(Value, frozen=True):
    """One change. `action` is what to do about it; `evidence` a section and key of the catalogue that came with it.

    It matters where all of `needs` hold (uses of `features.toml`) and none of the options or variables in `settled` is
    set on purpose. `rule` is the code under which a scan finds code that depends on it; empty when nothing written
    shows it.
    """

    since: str
    title: str
    action: str
    who: Who
    source: str
    evidence: tuple[str, str] | None = None
    rule: str = ""
    needs: tuple[str, ...] = ()
    settled: tuple[str, ...] = ()

    def spared(self, uses: Mapping[str, bool], words: Collection[str]) -> str:
        """Why it does not matter to a deployment with these uses and these options and variables; empty if it does."""
        absent = [need for need in self.needs if uses.get(need) is False]
        if absent:
            return f"does not apply: not true here that {features.uses()[absent[0]]}"
        said = [word for word in self.settled if word in words]
        return f"settled here by {said[0]}" if said else ""

    @property
    def release(self) -> Release:
        """The first release that behaves so."""
        return Release(version=self.since)


class _Table(Value, frozen=True):
    format: int
    behaviour: tuple[Behaviour, ...]


@functools.cache
def load() -> tuple[Behaviour, ...]:
    """All changes, oldest first."""
    text = resources.files("liftlock.knowledge").joinpath("data/behaviours.toml").read_text(encoding="utf-8")
    return parse(text, "behaviours.toml")


def parse(text: str, name: str) -> tuple[Behaviour, ...]:
    """The changes in TOML text, oldest first. Raises UsageError with the file and the reason."""
    try:
        entries = from_builtins(tomllib.loads(text), _Table).behaviour
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    for entry in entries:
        Release.parse(entry.since)
        if strange := set(entry.needs) - features.uses().keys():
            raise UsageError(f"{name}: {entry.title}: needs {', '.join(sorted(strange))}, which is not explained")
    return tuple(sorted(entries, key=lambda entry: entry.release))


def of_rule(code: str) -> Behaviour:
    """The change a rule of the scan stands for. Raises KeyError."""
    return {entry.rule: entry for entry in load() if entry.rule}[code]


def between(source: Release, target: Release) -> tuple[Behaviour, ...]:
    """What changes on the way from one release to a newer one."""
    return tuple(entry for entry in load() if source < entry.release <= target)
