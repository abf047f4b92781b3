"""What an upgrade of the server does to each client that was seen: by measured rounds and by its endpoints."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from liftlock.errors import UsageError
from liftlock.knowledge import catalogue_rest, compatibility
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.compatibility import Judgement, State, Table
from liftlock.model.codec import Value
from liftlock.model.release import Release

_PLACEHOLDER = re.compile(r"\{\w+\}")
_API = re.compile(r"/(?:ajax-api|api)/\d")


class Seen(Value, frozen=True):
    """One kind of client in a log. `version` is its MLflow (empty: not known); `endpoints` maps what it called, as
    `POST /api/2.0/mlflow/runs/create`, to how often; `other` counts requests that are no endpoint of any MLflow.
    Times are seconds since 1970, 0 where the log has none.
    """

    kind: str
    version: str
    requests: int
    writes: int
    failed: int
    peers: int
    first: float
    last: float
    endpoints: dict[str, int]
    other: int = 0


class Fate(Value, frozen=True):
    """What becomes of one client with the target server. `broken` are operations of the measured round, `gone` the
    endpoints it calls that the target no longer has, `already` what of both fails with the server of today too, and
    `lost` what endpoints that stay no longer take or answer."""

    seen: Seen
    state: State
    evidence: str
    broken: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


class Endpoints:
    """Every endpoint any release had, and which of them a release has."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        exact: set[str] = set()
        patterns: list[tuple[re.Pattern[str], str]] = []
        for key in sorted(catalogue.coded("rest").events):
            if "{" in key:
                pieces = [re.escape(piece) for piece in _PLACEHOLDER.split(key)]
                # Only the last placeholder may hold slashes: `artifacts/{artifact_path}`.
                last = ".+" if key.endswith("}") else "[^/]+"
                text = "[^/]+".join(pieces[:-1]) + last + pieces[-1]
                patterns.append((re.compile(text + r"\Z"), key))
            else:
                exact.add(key)
        self._exact = frozenset(exact)
        # The longest template says most: `.../traces/{request_id}/tags` before `.../traces/{request_id}`.
        self._patterns = sorted(patterns, key=lambda entry: (-entry[1].count("/"), -len(entry[1]), entry[1]))
        self.match = functools.lru_cache(maxsize=20_000)(self._match)

    def _match(self, verb: str, path: str) -> str | None:
        """The endpoint a request is for, or None. A static prefix in front of the API is looked past."""
        verb = "GET" if verb == "HEAD" else verb
        tries = [path]
        if (found := _API.search(path)) is not None and found.start():
            tries.append(path[found.start() :])
        for each in tries:
            key = f"{verb} {each}"
            if key in self._exact:
                return key
            for pattern, template in self._patterns:
                if pattern.match(key):
                    return template
        return None

    def of(self, release: Release) -> frozenset[str]:
        """The endpoints of one release."""
        return frozenset(self._catalogue.section("rest", release))

    def lost(self, keys: Iterable[str], source: Release, target: Release) -> tuple[tuple[str, ...], int]:
        """What endpoints that both releases have no longer take or answer, and how many of them could be compared."""
        had, has = self._catalogue.section("rest", source), self._catalogue.section("rest", target)
        both = {key: catalogue_rest.lost(had[key].value, has[key].value) for key in keys if key in had and key in has}
        compared = {key: said for key, said in both.items() if said is not None}
        return tuple(f"{key} {said}" for key, said in sorted(compared.items()) if said), len(compared)


@functools.lru_cache(maxsize=2)
def endpoints_of(catalogue: Catalogue) -> Endpoints:
    """The endpoints of a catalogue, prepared once: it takes longer than reading a log of a day."""
    return Endpoints(catalogue)


def fate(seen: Seen, source: Release, target: Release, table: Table, endpoints: Endpoints) -> Fate:
    """What becomes of a client when the server goes from one release to another. Pure.

    An endpoint that is gone breaks whoever calls it. Else the measured rounds decide; a client that is no MLflow
    client (or does not say its version) works when every endpoint it called is still there and takes and answers the
    fields it did. Where one lost a field, nobody knows whether the client uses it.
    """
    had, has = endpoints.of(source), endpoints.of(target)
    gone = tuple(key for key in sorted(seen.endpoints) if key not in has)
    already = [key for key in gone if key not in had]
    known: Judgement | None = None
    broken: tuple[str, ...] = ()
    if seen.version:
        client = _release(seen.version)
        if client is not None:
            known = compatibility.judge(table, client, target)
            now = compatibility.judge(table, client, source)
            broken = known.broken
            already += [each for each in broken if each in now.broken]
    if gone or broken:
        said = []
        if gone:
            said.append(f"{len(gone)} of its {len(seen.endpoints)} endpoints are not in {target}")
        if known is not None and broken:
            said.append(f"{len(broken)} operations fail, {known.evidence}")
        return Fate(seen=seen, state=State.BREAKS, evidence="; ".join(said), broken=broken, gone=gone,
                    already=tuple(already))  # fmt: skip
    lost, compared = endpoints.lost(seen.endpoints, source, target)
    if known is not None and known.state is not State.UNKNOWN:
        return Fate(seen=seen, state=known.state, evidence=known.evidence, lost=lost)
    if seen.endpoints:
        why = "every endpoint it called is still there, "
        if lost:
            why += f"but {len(lost)} lost fields it may use: {lost[0]}"
        else:
            why += f"{compared} of {len(seen.endpoints)} could be compared and take and answer the same fields or more"
        if known is None:
            return Fate(seen=seen, state=State.UNKNOWN if lost else State.WORKS, evidence=why, lost=lost)
        return Fate(seen=seen, state=State.UNKNOWN, evidence=f"{known.evidence}; {why}", lost=lost)
    return Fate(seen=seen, state=State.UNKNOWN, evidence=known.evidence if known else "it called no endpoint of MLflow")


def newer_clients(source: Release, target: Release, table: Table) -> tuple[Judgement, ...]:
    """What a rollback of the server would do to clients that have moved on: each measured client newer than the old
    server, up to the target, with the old server."""
    wanted = {each for each in table.clients if source < each <= target} | {target}
    return tuple(compatibility.judge(table, client, source) for client in sorted(wanted, key=lambda each: each.key))


def _release(version: str) -> Release | None:
    try:
        return Release.parse(version)
    except UsageError:
        return None  # somebody's own build writes what it likes


def counted(endpoints: Mapping[str, int], number: int) -> tuple[tuple[str, int], ...]:
    """The endpoints that are called most, with how often."""
    return tuple(sorted(endpoints.items(), key=lambda entry: (-entry[1], entry[0]))[:number])
