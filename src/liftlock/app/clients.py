"""`clients`: who uses the server, from the gate's access log or a server's or proxy's, and what an upgrade does.

Read are JSON lines of the gate, the common and combined log formats (gunicorn, nginx, Apache, with anything before or
after) and uvicorn's lines, which have neither a time nor a User-Agent; plain or gzipped.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

import msgspec

from liftlock.errors import UsageError
from liftlock.gate.clients import identify
from liftlock.gate.endpoints import Classifier, table
from liftlock.gate.log import Line
from liftlock.knowledge import compatibility, fates
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.fates import Endpoints, Fate, Seen, endpoints_of
from liftlock.model.codec import Value
from liftlock.model.release import Release

_COMMON = re.compile(
    r"(?P<peer>[0-9A-Fa-f:.]+|[\w.-]+) (?P<ident>\S+) (?P<user>.+?) \[(?P<time>[^\]]+)\] "
    r'"(?P<verb>[A-Z]{3,10}) (?P<path>\S+)(?: HTTP/[0-9.]+)?" (?P<status>\d{3})(?: (?:\d+|-))?'
    r'(?: "(?:[^"\\]|\\.)*" "(?P<agent>(?:[^"\\]|\\.)*)")?'
)
_UVICORN = re.compile(r'(?P<peer>\S+?):\d+ - "(?P<verb>[A-Z]{3,10}) (?P<path>\S+) HTTP/[0-9.]+" (?P<status>\d{3})\b')


class Read(Value, frozen=True):
    """What was read: the clients, busiest first; how many lines were requests and how many were not understood."""

    clients: tuple[Seen, ...]
    lines: int
    strange: int
    files: tuple[str, ...]


class Inventory(Value, frozen=True):
    """Clients and, when a target is known, what becomes of each."""

    source: Release | None
    target: Release | None
    read: Read
    fates: tuple[Fate, ...]


def inventory(
    logs: Sequence[Path], catalogue: Catalogue, *, source: Release | None, target: Release | None, since: float = 0.0
) -> Inventory:
    """Read logs and judge. `since` is in seconds since 1970 (lines without a time always count).

    Raises UsageError when a log cannot be read or has no request in it, ReleaseError for an unknown release.
    """
    endpoints = endpoints_of(catalogue)
    read = read_logs(logs, endpoints, since=since)
    if source is None or target is None:
        return Inventory(source=source, target=target, read=read, fates=())
    old, new = catalogue.require(source), catalogue.require(target)
    known = compatibility.load()
    judged = tuple(fates.fate(each, old, new, known, endpoints) for each in read.clients)
    return Inventory(source=old, target=new, read=read, fates=judged)


def read_logs(logs: Sequence[Path], endpoints: Endpoints, *, since: float = 0.0) -> Read:
    """The clients in some logs. Raises UsageError for one that cannot be read, or when there is no request in any."""
    reader = _Reader(endpoints)
    for path in logs:
        try:
            with _opened(path) as raw:
                for line in raw:
                    reader.add(line.rstrip("\n"), since)
        except (OSError, EOFError) as error:
            raise UsageError(f"{path} cannot be read: {error}") from error
    if not reader.lines:
        names = ", ".join(map(str, logs)) or "no log"
        raise UsageError(
            f"{names}: no line is a request",
            hint="Known are the gate's log, the common and combined formats (gunicorn, nginx) and uvicorn's.",
        )
    return Read(clients=reader.clients(), lines=reader.lines, strange=reader.strange, files=tuple(map(str, logs)))


def gate_logs(directory: Path) -> tuple[Path, ...]:
    """The access log of a gate in its directory, with what was rotated away, oldest first; empty without a gate."""
    return tuple(sorted(directory.glob("access.log*"), key=lambda path: path.stat().st_mtime))


def parse(line: str) -> Line | None:
    """One line of a server's or proxy's log as a request, or None."""
    if line.startswith("{"):
        try:
            return msgspec.json.decode(line, type=Line)
        except msgspec.MsgspecError:
            return None  # cut off by a crash, or another program's JSON
    found = _COMMON.search(line)
    if found is None:
        found = _UVICORN.search(line)
        if found is None:
            return None
        return _line(found["peer"], found["verb"], found["path"], found["status"], at=0)
    try:
        moment = datetime.strptime(found["time"], "%d/%b/%Y:%H:%M:%S %z")
        at = int(moment.timestamp() * 1000)
    except ValueError:
        return None
    return _line(found["peer"], found["verb"], found["path"], found["status"], at=at, agent=found["agent"] or "")


def _line(peer: str, verb: str, path: str, status: str, *, at: int, agent: str = "") -> Line:
    return Line(
        at=at, peer=peer, verb=verb, path=path.partition("?")[0], agent=agent, client="", read=False,
        status=int(status), us=0,
    )  # fmt: skip


@dataclass
class _Tally:
    requests: int = 0
    writes: int = 0
    failed: int = 0
    other: int = 0
    first: float = 0.0
    last: float = 0.0
    peers: set[str] = field(default_factory=set)
    endpoints: dict[str, int] = field(default_factory=dict)


class _Reader:
    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._reads = Classifier(table())
        self._found: dict[tuple[str, str], _Tally] = {}
        self.lines = self.strange = 0

    def add(self, text: str, since: float) -> None:
        line = parse(text)
        if line is None:
            self.strange += bool(text.strip())
            return
        self.lines += 1
        if not line.verb or (line.at and line.at < since * 1000):
            return
        tally = self._found.setdefault(identify(line.agent, line.client), _Tally())
        endpoint = self._endpoints.match(line.verb, line.path)
        tally.requests += 1
        tally.failed += line.status >= 400
        tally.peers.add(line.peer)
        if line.at:
            tally.first = min(tally.first or line.at / 1000, line.at / 1000)
            tally.last = max(tally.last, line.at / 1000)
        if endpoint is None:
            tally.other += 1
            return
        tally.endpoints[endpoint] = tally.endpoints.get(endpoint, 0) + 1
        path = endpoint.partition(" ")[2]
        tally.writes += not self._reads.reads(line.verb.encode(), path.encode())

    def clients(self) -> tuple[Seen, ...]:
        seen = (
            Seen(
                kind=kind, version=version, requests=each.requests, writes=each.writes, failed=each.failed,
                peers=len(each.peers), first=each.first, last=each.last, other=each.other,
                endpoints=dict(sorted(each.endpoints.items())),
            )
            for (kind, version), each in self._found.items()
        )  # fmt: skip
        return tuple(sorted(seen, key=lambda each: (-each.requests, each.kind, each.version)))


def _opened(path: Path) -> TextIO:
    """A log as lines of text, gzipped or not; bytes that are no UTF-8 do not end the reading."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")
