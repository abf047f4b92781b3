"""Delta coding of facts over releases: a key's value is written once, with the release from which it holds.

A section of 140 releases is a list of releases, a table of texts, and per key the events `from release i on it is
value v, read in source s` (or: gone). Stored as JSON inside xz, whose own checksum finds damage.
"""

from __future__ import annotations

import lzma
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from liftlock.errors import ReleaseError
from liftlock.knowledge.extract.facts import Fact, Section

FORMAT = 1
_GONE = -1


class Coded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One section of all releases. `events[key]` is a flat list of triples: release, value text, source text."""

    format: int
    releases: int
    texts: list[str]
    events: dict[str, list[int]]

    def at(self, release: int) -> Section:
        """The section as it was in one release (by its number)."""
        found: Section = {}
        for key, events in self.events.items():
            fact = self._fact(events, release)
            if fact is not None:
                found[key] = fact
        return found

    def fact(self, key: str, release: int) -> Fact | None:
        """One key's fact in one release, or None."""
        return self._fact(self.events.get(key, []), release)

    def history(self, key: str) -> tuple[tuple[int, Fact | None], ...]:
        """The releases in which a key changed, with what it became (None: it went)."""
        events = self.events.get(key, [])
        return tuple((events[i], self._read(events, i)) for i in range(0, len(events), 3))

    def holders(self, key: str) -> tuple[int, ...]:
        """The releases that have the key."""
        return tuple(number for number in range(self.releases) if self.fact(key, number) is not None)

    def changed(self, old: int, new: int) -> Iterable[tuple[str, Fact | None, Fact | None]]:
        """Keys whose value differs between two releases: (key, before, after)."""
        for key, events in self.events.items():
            before, after = self._place(events, old), self._place(events, new)
            if before == after:
                continue
            was, now = self._read(events, before), self._read(events, after)
            if (was and was.value) != (now and now.value) or (was is None) != (now is None):
                yield key, was, now

    def _place(self, events: Sequence[int], release: int) -> int:
        return 3 * (bisect_right(range(0, len(events), 3), release, key=lambda i: events[i]) - 1)

    def _fact(self, events: Sequence[int], release: int) -> Fact | None:
        return self._read(events, self._place(events, release))

    def _read(self, events: Sequence[int], place: int) -> Fact | None:
        if place < 0 or events[place + 1] == _GONE:
            return None
        return Fact(self.texts[events[place + 1]], self.texts[events[place + 2]])


def encode(sections: Sequence[Mapping[str, Fact]]) -> Coded:
    """The coded form of one section, given for every release in order."""
    numbers: dict[str, int] = {}
    events: dict[str, list[int]] = {}
    for release, section in enumerate(sections):
        for key, (value, source) in section.items():
            triple = [release, numbers.setdefault(value, len(numbers)), numbers.setdefault(source, len(numbers))]
            known = events.setdefault(key, [])
            if known[-2:] != triple[1:]:
                known += triple
        for key, known in events.items():
            if key not in section and known[-2] != _GONE:
                known += [release, _GONE, _GONE]
    return Coded(FORMAT, len(sections), list(numbers), dict(sorted(events.items())))


def to_bytes(coded: Coded) -> bytes:
    """The compressed form that is shipped; equal input gives equal bytes."""
    return lzma.compress(msgspec.json.encode(coded), preset=9 | lzma.PRESET_EXTREME)


def from_bytes(data: bytes, name: str) -> Coded:
    """The section in compressed bytes. Raises ReleaseError, naming it, when they are damaged or of another format."""
    try:
        coded = msgspec.json.decode(lzma.decompress(data), type=Coded)
        if coded.format != FORMAT:
            raise ValueError(f"format {coded.format}, this program reads {FORMAT}")
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise ReleaseError(
            f"the catalogue of releases is damaged in {name}: {error}",
            hint="Run `liftlock releases refresh` to make it again, or delete it to use the one that is shipped.",
        ) from error
    return coded
