"""What the gate's access log says, read on from where the last look ended; the log is only read.

A log holds what fits into a few rotated files, which a busy server fills within the hour. So a look keeps what it has
counted, and its place: the first line of the file (which tells a file from the one that took its name) and an offset.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from liftlock.gate.log import Line
from liftlock.knowledge.fates import Endpoints
from liftlock.model.codec import Value
from liftlock.verify.traffic import counts

_HEAD = 256
_OURS = "liftlock"


class Place(Value, frozen=True):
    """How far a log was read: the beginning of the file's first line, and the bytes read of it."""

    head: str = ""
    offset: int = 0


def logs(directory: Path) -> tuple[Path, ...]:
    """A gate's access log and what was rotated away of it, oldest first; empty without a gate."""
    found = [path for path in directory.glob("access.log*") if path.name == "access.log" or path.suffix[1:].isdecimal()]
    return tuple(sorted(found, key=_number, reverse=True))


class LogReader:
    """Reads a gate's log from a place on; `place` is where it has come to, `gap` whether lines were lost meanwhile.

    Lines were lost when the file that was read last has been rotated out of existence.
    """

    def __init__(self, directory: Path, endpoints: Endpoints, place: Place | None = None) -> None:
        self._directory = directory
        self._endpoints = endpoints
        self._decoder = msgspec.json.Decoder(Line)
        self.place = place or Place()
        self.gap = False

    def read(self) -> Iterator[tuple[str, Line]]:
        """Every whole line since, with the template of its endpoint; what is no call of the API is left out.

        Requests of liftlock itself are left out too. A line cut off by a crash is skipped.
        """
        files = [(path, head) for path in logs(self._directory) if (head := _head(path))]
        at = next((number for number, (_, head) in enumerate(files) if head == self.place.head), None)
        self.gap = bool(self.place.head) and at is None
        for number, (path, head) in enumerate(files[at or 0 :]):
            yield from self._file(path, head, self.place.offset if number == 0 and at is not None else 0)

    def newest(self, enough: int) -> Iterator[tuple[str, Line]]:
        """Whole files from the newest back, until there are `enough` lines; `place` moves as by `read`."""
        number = 0
        for path in reversed(logs(self._directory)):
            if head := _head(path):
                for found in self._file(path, head, 0):
                    number += 1
                    yield found
            if number >= enough:
                return

    def _file(self, path: Path, head: str, offset: int) -> Iterator[tuple[str, Line]]:
        with path.open("rb") as file:
            if _beginning(file) != head:
                return  # it was rotated away this moment; the next look finds it under its new name
            file.seek(offset)
            for text in file:
                if not text.endswith(b"\n"):
                    break  # being written
                offset += len(text)
                if (found := self._line(text)) is not None:
                    yield found
        self.place = Place(head=head, offset=offset)

    def _line(self, text: bytes) -> tuple[str, Line] | None:
        try:
            line = self._decoder.decode(text)
        except msgspec.MsgspecError:
            return None
        if not line.verb or line.agent.startswith(_OURS):
            return None
        endpoint = self._endpoints.match(line.verb, line.path)
        return (endpoint, line) if endpoint is not None and counts(endpoint) else None


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _beginning(file)
    except FileNotFoundError:
        return ""  # rotated away since it was listed


def _beginning(file: BinaryIO) -> str:
    """The first line, or as much of it as tells one file from another; empty while it is being written."""
    raw = file.read(_HEAD)
    line, newline, _ = raw.partition(b"\n")
    return line.decode("utf-8", "replace") if newline or len(raw) == _HEAD else ""


def _number(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix[1:].isdecimal() else 0
