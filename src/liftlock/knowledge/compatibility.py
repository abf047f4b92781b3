"""Which clients work with which servers, as it was measured (`data/compatibility.json`, made by `make compatibility`).

A round is the same 31 operations of a real client against a real server. What was not run is judged from its measured
neighbours, and only where they agree; everything else is unknown.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Sequence
from importlib import resources

from liftlock.errors import ReleaseError
from liftlock.model.codec import Value, from_json
from liftlock.model.release import Release

FORMAT = 1
FILE = "compatibility.json"


class Result(enum.StrEnum):
    """What became of one operation. NONE: this client has no such call; SKIPPED: an earlier one it needs failed."""

    OK = "ok"
    FAILED = "failed"
    NONE = "n/a"
    SKIPPED = "skipped"


class Deviation(Value, frozen=True):
    """One operation that was not ok, with the client's own words."""

    operation: str
    result: Result
    message: str = ""


class Round(Value, frozen=True):
    """One client against one server: the day (`2026-11-21`), the Pythons, and every operation that was not ok."""

    client: Release
    server: Release
    day: str
    client_python: str
    server_python: str
    deviations: tuple[Deviation, ...] = ()

    @property
    def failed(self) -> tuple[str, ...]:
        """The operations that failed, and those that could not be tried because of that."""
        return tuple(each.operation for each in self.deviations if each.result in (Result.FAILED, Result.SKIPPED))


class Unmeasured(Value, frozen=True):
    """A pair that could not be run, and why."""

    client: Release
    server: Release
    reason: str


class Table(Value, frozen=True):
    """All rounds. `operations` are in the order they run; `store` is the servers' database."""

    format: int
    made: str
    store: str
    operations: tuple[str, ...]
    rounds: tuple[Round, ...]
    unmeasured: tuple[Unmeasured, ...] = ()

    def round(self, client: Release, server: Release) -> Round | None:
        """The round of exactly this pair, or None."""
        return next((each for each in self.rounds if (each.client, each.server) == (client, server)), None)

    @property
    def clients(self) -> tuple[Release, ...]:
        """Every client that was to be measured, oldest first."""
        return tuple(sorted({client for client, _ in self.pairs()}, key=lambda each: each.key))

    @property
    def servers(self) -> tuple[Release, ...]:
        """Every server that was to be measured, oldest first."""
        return tuple(sorted({server for _, server in self.pairs()}, key=lambda each: each.key))

    def pairs(self) -> list[tuple[Release, Release]]:
        """Every client and server that was to be measured together."""
        measured = [(each.client, each.server) for each in self.rounds]
        return measured + [(each.client, each.server) for each in self.unmeasured]

    def broken(self, pair: Round) -> tuple[str, ...]:
        """The operations of a round that the server is to blame for: those the client cannot do even against a server
        of its own release are left out."""
        control = self.round(pair.client, pair.client)
        own = set(control.failed) if control is not None else set()
        return tuple(each for each in pair.failed if each not in own)


class State(enum.StrEnum):
    """What becomes of a client."""

    WORKS = "works"
    BREAKS = "breaks"
    UNKNOWN = "unknown"


class Judgement(Value, frozen=True):
    """Whether a client works with a server: `broken` names the operations that fail, `evidence` says how it is known.

    `measured` is True only when exactly this pair was run.
    """

    client: Release
    server: Release
    state: State
    broken: tuple[str, ...]
    evidence: str
    measured: bool = False


@functools.cache
def load() -> Table:
    """The shipped measurements. Raises ReleaseError when the file is damaged."""
    return parse(resources.files("liftlock.knowledge").joinpath(f"data/{FILE}").read_bytes(), FILE)


def parse(data: bytes, name: str) -> Table:
    """Measurements from JSON. Raises ReleaseError with the file and the reason."""
    try:
        table = from_json(data, Table)
    except ValueError as error:
        raise ReleaseError(f"{name}: {error}", hint="`make compatibility` measures anew.") from error
    known = set(table.operations)
    seen: set[tuple[str, str]] = set()
    for client, server in table.pairs():
        pair = (client.version, server.version)
        if pair in seen:
            raise ReleaseError(f"{name}: client {pair[0]} with server {pair[1]} is there twice")
        seen.add(pair)
    for entry in table.rounds:
        if strange := {each.operation for each in entry.deviations} - known:
            raise ReleaseError(f"{name}: {', '.join(sorted(strange))}: no operation of the round")
    return table


def judge(table: Table, client: Release, server: Release) -> Judgement:
    """What is known of a client with a server: measured, or what all measured neighbours on both sides agree on."""
    exact = table.round(client, server)
    if exact is not None:
        broken = table.broken(exact)
        return Judgement(
            client=client, server=server, state=State.BREAKS if broken else State.WORKS, broken=broken,
            evidence=f"measured on {exact.day}", measured=True,
        )  # fmt: skip
    missing = next((each for each in table.unmeasured if (each.client, each.server) == (client, server)), None)
    if missing is not None:
        return _unknown(client, server, f"not measured: {missing.reason}")
    clients, servers = _around(client, table.clients), _around(server, table.servers)
    if not clients or not servers:
        outside = "client" if not clients else "server"
        return _unknown(client, server, f"the {outside} lies outside of what was measured")
    corners = [table.round(one, other) for one in clients for other in servers]
    found = [each for each in corners if each is not None]
    names = f"clients {_names(clients)} with servers {_names(servers)}"
    if len(found) < len(corners):
        return _unknown(client, server, f"not all of {names} could be measured")
    sets = [set(table.broken(each)) for each in found]
    if not any(sets):
        return Judgement(client=client, server=server, state=State.WORKS, broken=(), evidence=f"as {names}")
    common = set.intersection(*sets)
    if common:
        ordered = tuple(each for each in table.operations if each in common)
        return Judgement(client=client, server=server, state=State.BREAKS, broken=ordered, evidence=f"as {names}")
    return _unknown(client, server, f"{names} do not agree")


def _around(release: Release, measured: Sequence[Release]) -> tuple[Release, ...]:
    """The measured releases that a release lies between: itself, the nearest below and above, or, at either end, the
    nearest of its own minor line. Empty when it lies outside."""
    if release in measured:
        return (release,)
    below = [each for each in measured if each < release][-1:]
    above = [each for each in measured if each > release][:1]
    if below and above:
        return (*below, *above)
    minor = release.key.release[:2]
    return tuple(each for each in (*below, *above) if each.key.release[:2] == minor)


def _names(releases: Sequence[Release]) -> str:
    return " and ".join(each.version for each in releases)


def _unknown(client: Release, server: Release, why: str) -> Judgement:
    return Judgement(client=client, server=server, state=State.UNKNOWN, broken=(), evidence=why)
