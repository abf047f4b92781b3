"""One key of the catalogue over all releases, without loading whole releases: when a name came and went."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.catalogue_api import Surface
from liftlock.knowledge.catalogue_coding import Coded
from liftlock.knowledge.extract.facts import Fact
from liftlock.model.release import Release


class Table(Mapping[str, Fact]):
    """A section in one release, looked up key by key."""

    def __init__(self, coded: Coded, release: int) -> None:
        self._coded = coded
        self._events, self._texts = coded.events, coded.texts
        self._release = release

    def __getitem__(self, key: str) -> Fact:
        fact = self._coded.fact(key, self._release)
        if fact is None:
            raise KeyError(key)
        return fact

    def get(self, key: str, default: Fact | None = None) -> Fact | None:  # type: ignore[override]  # no default type
        """The fact, or the default. Asked a hundred thousand times in a scan, so it reads the coding itself."""
        events = self._events.get(key)
        if events is None:
            return default
        place = len(events) - 3
        while place >= 0 and events[place] > self._release:
            place -= 3
        if place < 0 or events[place + 1] < 0:
            return default
        return Fact(self._texts[events[place + 1]], self._texts[events[place + 2]])

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return (key for key in self._coded.events if key in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Existence:
    """In which releases a thing exists, seen from A and B; a release is asked when it matters, and once."""

    def __init__(self, holds: Callable[[int], bool], old: int, new: int, releases: tuple[Release, ...]) -> None:
        self._holds, self._old, self._new, self._releases = holds, old, new, releases
        self._known: dict[int, bool] = {}

    def _at(self, number: int) -> bool:
        if number not in self._known:
            self._known[number] = self._holds(number)
        return self._known[number]

    @property
    def in_old(self) -> bool:
        """Whether A has it."""
        return self._at(self._old)

    @property
    def in_new(self) -> bool:
        """Whether B has it."""
        return self._at(self._new)

    @property
    def ever(self) -> bool:
        """Whether any release has it."""
        return self.last() is not None or any(map(self._at, range(self._new + 1, len(self._releases))))

    @property
    def removed_in(self) -> str:
        """The release without it that ends the last run of releases with it before B; empty when there is none."""
        last = self.last()
        return "" if last is None or last == self._new else self._releases[last + 1].version

    @property
    def gone_before(self) -> bool:
        """Whether it was removed before A, rather than being of releases between A and B alone."""
        last = self.last()
        return last is not None and last < self._old

    @property
    def added_in(self) -> str:
        """The first release that has it at all."""
        first = next((number for number in range(len(self._releases)) if self._at(number)), None)
        return "" if first is None else self._releases[first].version

    @property
    def later(self) -> bool:
        """Whether only releases after B have it."""
        return self.last() is None and self.ever

    def last(self) -> int | None:
        """The number of the last release up to B that has it."""
        if self._holds is _nowhere:
            return None
        return next((number for number in range(self._new, -1, -1) if self._at(number)), None)


def _nowhere(release: int) -> bool:
    """In no release."""
    del release
    return False


class History:
    """The catalogue seen from a pair of releases."""

    def __init__(self, catalogue: Catalogue, old: Release, new: Release) -> None:
        self.catalogue = catalogue
        self.old, self.new = catalogue.number(old), catalogue.number(new)
        self.releases = catalogue.releases
        self._module = functools.cache(self._is_module)
        self._ever = functools.cache(lambda path: not path or self.path(path).ever)
        # Kept per history, which lives as long as what asks it.
        self.surface = functools.cache(self._surface)
        self.key = functools.cache(self._key)
        self.path = functools.cache(self._path)
        self.parameter = functools.cache(self._parameter)

    @functools.cached_property
    def by_last(self) -> dict[str, list[str]]:
        """The last names of all paths of all releases, with those paths."""
        found: dict[str, list[str]] = {}
        for key in self.catalogue.coded("api").events:
            found.setdefault(key.rpartition(".")[2], []).append(key)
        return found

    def _is_module(self, path: str) -> bool:
        """Whether a path is a module in every release that has it: then what is below it is in the table itself."""
        events = self.catalogue.coded("api").history(path)
        return bool(events) and all(fact is None or fact.value == "m" for _, fact in events)

    def _surface(self, release: int) -> Surface:
        """The Python API of a release, by its number."""
        return Surface(Table(self.catalogue.coded("api"), release))  # type: ignore[arg-type]  # looked up only

    def existence(self, holds: Callable[[int], bool]) -> Existence:
        """What a question to a release says."""
        return Existence(holds, self.old, self.new, self.releases)

    def _key(self, section: str, key: str) -> Existence:
        """The existence of a plain key."""
        coded = self.catalogue.coded(section)
        return self.existence(lambda number: coded.fact(key, number) is not None)

    def _path(self, path: str) -> Existence:
        """The existence of an access path of the Python API."""
        if path.rpartition(".")[2] not in self.by_last:
            return Existence(_nowhere, 0, 0, ())
        owner = path.rpartition(".")[0]
        if path not in self.catalogue.coded("api").events and (self._module(owner) or not self._ever(owner)):
            return Existence(_nowhere, 0, 0, ())
        return self.existence(lambda number: self.surface(number).canonical(path) is not None)

    def _parameter(self, path: str, name: str) -> Existence:
        """The existence of a named parameter of a callable."""
        return self.existence(lambda number: name in named_parameters(self.surface(number), path))


def named_parameters(surface: Surface, path: str) -> dict[str, str]:
    """Name -> kind of the parameters that can be given by keyword; empty where there is no such callable."""
    found = surface.parameters(path) or ()
    return {each.name: each.kind for each in found if each.kind in ("positional", "keyword")}
