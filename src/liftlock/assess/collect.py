"""Collect the facts that checks look at. Whatever cannot be had becomes a value that says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from liftlock import clock
from liftlock.assess.facts import Facts, Place, Target, Unknown
from liftlock.describe.config import Config
from liftlock.describe.process import inspect
from liftlock.errors import LiftlockError
from liftlock.files import free_bytes
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.uri import Engine
from liftlock.releases.tools import Heads
from liftlock.runtimes import process_health, process_tree
from liftlock.runtimes.interface import Handle
from liftlock.stores.interface import Store

T = TypeVar("T")


def collect(
    config: Config,
    *,
    stores: Mapping[Role, Store],
    server: Handle | None,
    running_heads: Heads | Unknown,
    target: Target | None = None,
    artifact_bytes: int = 0,
) -> Facts:
    """Look at server, databases, disk and clock; nothing is changed and nothing is raised for what is missing.

    `stores` are the databases that could be opened; a role the configuration names and `stores` lacks is unknown.
    `server` is the running server, `artifact_bytes` what a backup of the artifacts will take.
    """
    running = attempt(lambda: inspect(server.pid)) if server is not None else None
    host, port = config.server.host, config.server.port
    facts: dict[Role, StoreFacts | Unknown] = {}
    for role in _roles(config):
        store = stores.get(role)
        facts[role] = attempt(store.facts) if store is not None else Unknown(f"the {role} store cannot be opened")
    prefix = "" if running is None or isinstance(running, Unknown) else running.static_prefix
    return Facts(
        config=config,
        running=running,
        healthy=process_health.healthy(host, port, prefix),
        port_free=_port_free(host, port),
        port_holders=process_tree.listeners(port),
        stores=stores,
        store_facts=facts,
        running_heads=running_heads,
        disk=_disk(config, facts, artifact_bytes),
        now=clock.now().timestamp(),
        clock_ahead={role: attempt(_ahead(store)) for role, store in stores.items() if _has_clock(store)},
        newest_run=_newest_run(stores.get(Role.TRACKING), facts.get(Role.TRACKING)),
        target=target,
    )


def attempt(question: Callable[[], T]) -> T | Unknown:
    """The answer, or Unknown with the message of the LiftlockError it raised."""
    try:
        return question()
    except LiftlockError as error:
        return Unknown(error.message)


def _roles(config: Config) -> tuple[Role, ...]:
    # A secret that is missing must not hide the store it belongs to.
    found = attempt(config.roles)
    return (Role.TRACKING,) if isinstance(found, Unknown) else found


def _port_free(host: str, port: int) -> bool | Unknown:
    try:
        return process_tree.port_is_free(host, port)
    except OSError as error:
        return Unknown(f"{host}:{port} cannot be bound: {error.strerror or error}")


def _disk(
    config: Config, facts: Mapping[Role, StoreFacts | Unknown], artifact_bytes: int
) -> tuple[Place, ...] | Unknown:
    """What a backup, a scratch copy and SQLite's rebuild of tables will take, by file system."""
    needs: dict[int, tuple[Path, int, list[str]]] = {}

    def add(path: Path, needed: int, what: str) -> None:
        place = path
        while not place.exists():
            place = place.parent
        device = place.stat().st_dev
        first, sum_, why = needs.get(device, (place, 0, []))
        needs[device] = (first, sum_ + needed, [*why, what])

    for role, found in facts.items():
        if isinstance(found, Unknown):
            return Unknown(f"the size of the {role} store is not known: {found.why}")
        add(config.backup_directory, found.bytes, f"backup of {role}")
        if found.engine is Engine.SQLITE:
            add(config.store_uri(role).path.parent, found.bytes, f"copy of {role} beside it")
    add(config.backup_directory, artifact_bytes, "backup of artifacts")
    return tuple(
        Place(path=str(path), needed=needed, free=free_bytes(path), what=tuple(what))
        for path, needed, what in needs.values()
    )


def _has_clock(store: Store) -> bool:
    return store.uri.engine is Engine.POSTGRESQL


def _ahead(store: Store) -> Callable[[], float]:
    def ask() -> float:
        before = clock.now().timestamp()
        row = next(iter(store.rows("SELECT CAST(extract(epoch FROM clock_timestamp()) AS float8) AS now")))
        after = clock.now().timestamp()
        return float(row["now"]) - (before + after) / 2

    return ask


def _newest_run(store: Store | None, facts: StoreFacts | Unknown | None) -> float | Unknown | None:
    if store is None or not isinstance(facts, StoreFacts) or "runs" not in {table.name for table in facts.tables}:
        return None

    def ask() -> float | None:
        row = next(iter(store.rows("SELECT max(start_time) AS newest FROM runs")))
        return None if row["newest"] is None else float(row["newest"]) / 1000

    return attempt(ask)
