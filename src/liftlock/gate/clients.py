"""Who uses the server: client versions and what they do, read from the gate's access log."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from liftlock.errors import UsageError
from liftlock.gate.log import Line
from liftlock.model.codec import Value

_AGENT = re.compile(r"mlflow-python-client/([0-9][0-9A-Za-z.+-]{0,40})")
_IDENTIFIER = re.compile(r"/(?:[0-9a-f]{16,}|[0-9]+|tr-[0-9a-f]+|m-[0-9a-f]+)(?=/|$)")
_PATHS = 10


class ClientUse(Value, frozen=True):
    """One kind of client: what it is, its MLflow version (empty when unknown), and what it did.

    `peers` counts its addresses; `paths` are its commonest endpoints with their number, identifiers left out.
    Times are seconds since 1970. `failed` counts answers from 400 up, 499 (the client left) included.
    """

    kind: str
    version: str
    requests: int
    writes: int
    failed: int
    peers: int
    first: float
    last: float
    paths: tuple[tuple[str, int], ...]


def report(log: Path, *, since: float = 0.0) -> tuple[ClientUse, ...]:
    """The clients in the access log and its rotated files, busiest first; `since` in seconds since 1970.

    Raises UsageError when there is no log. Lines cut off by a crash are skipped.
    """
    files = sorted(log.parent.glob(f"{log.name}*"))
    if not files:
        raise UsageError(f"there is no access log at {log}", hint="Has a gate run here?")
    return summarize(line for file in files for line in _lines(file) if line.at >= since * 1000)


def summarize(lines: Iterable[Line]) -> tuple[ClientUse, ...]:
    """The same from lines of the log."""
    found: dict[tuple[str, str], _Tally] = {}
    for line in lines:
        if line.verb:  # refused heads name no client
            found.setdefault(identify(line.agent, line.client), _Tally()).add(line)
    uses = [tally.use(kind, version) for (kind, version), tally in found.items()]
    return tuple(sorted(uses, key=lambda use: (-use.requests, use.kind, use.version)))


def identify(agent: str, version: str) -> tuple[str, str]:
    """What a client is and its MLflow version, from User-Agent and X-MLflow-Client-Version (3.4 and newer send it)."""
    match = _AGENT.search(agent)
    if match or version:
        return "mlflow-python-client", version or (match[1] if match else "")
    name = agent.split("/", 1)[0].split(" ", 1)[0]
    return ("browser" if name == "Mozilla" else name or "unknown"), ""


class _Tally:
    def __init__(self) -> None:
        self._requests = self._writes = self._failed = 0
        self._peers: set[str] = set()
        self._first, self._last = float("inf"), 0.0
        self._paths: dict[str, int] = {}

    def add(self, line: Line) -> None:
        self._requests += 1
        self._writes += not line.read
        self._failed += line.status >= 400
        self._peers.add(line.peer)
        self._first, self._last = min(self._first, line.at / 1000), max(self._last, line.at / 1000)
        path = f"{line.verb} {_IDENTIFIER.sub('/*', line.path)}"
        self._paths[path] = self._paths.get(path, 0) + 1

    def use(self, kind: str, version: str) -> ClientUse:
        common = sorted(self._paths.items(), key=lambda entry: (-entry[1], entry[0]))[:_PATHS]
        return ClientUse(
            kind=kind, version=version, requests=self._requests, writes=self._writes, failed=self._failed,
            peers=len(self._peers), first=self._first, last=self._last, paths=tuple(common),
        )  # fmt: skip


def _lines(file: Path) -> Iterator[Line]:
    decoder = msgspec.json.Decoder(Line)
    with file.open("rb") as raw:
        for text in raw:
            try:
                yield decoder.decode(text)
            except msgspec.DecodeError:
                continue
