"""What checks look at: one immutable bundle, collected beforehand, in which not knowing is a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from liftlock.describe.config import Config
from liftlock.describe.process import Observed
from liftlock.errors import LiftlockError
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.release import Release
from liftlock.releases.environment import Environment
from liftlock.releases.tools import Heads
from liftlock.stores.interface import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Unknown:
    """A fact that could not be had, and why (one line, redacted)."""

    why: str


@dataclass(frozen=True)
class Broken:
    """Something that was tried and does not work: the reason and what to do."""

    why: str
    hint: str = ""


class NotKnown(LiftlockError):
    """A check asked for a fact that could not be had; it becomes the outcome UNKNOWN."""


@dataclass(frozen=True)
class Place:
    """A file system that must take data: bytes needed (without reserve) and bytes free."""

    path: str
    needed: int
    free: int
    what: tuple[str, ...]


@dataclass(frozen=True)
class Target:
    """The release to go to. `heads` are the revisions it knows, `environment` is one that was proven to start."""

    release: Release
    heads: Heads | Unknown
    environment: Environment | Unknown | Broken


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything checks may know.

    `running` is None when no server runs. `healthy` tells whether `/health` answered 200. `port_holders` are PIDs
    that listen on the server's port. `clock_ahead` is, for each database server with a clock of its own, by how many
    seconds it is ahead of this machine. `newest_run` is the latest start of a run in seconds since the epoch and
    `now` the time of this machine.
    """

    config: Config
    running: Observed | Unknown | None
    healthy: bool
    port_free: bool | Unknown
    port_holders: tuple[int, ...]
    stores: Mapping[Role, Store]
    store_facts: Mapping[Role, StoreFacts | Unknown]
    running_heads: Heads | Unknown
    disk: tuple[Place, ...] | Unknown
    now: float
    clock_ahead: Mapping[Role, float | Unknown] = field(default_factory=dict)
    newest_run: float | Unknown | None = None
    target: Target | None = None

    def store(self, role: Role) -> StoreFacts:
        """The facts of one database. Raises NotKnown."""
        return known(self.store_facts.get(role, Unknown(f"there is no {role} store")))

    def known_stores(self) -> tuple[StoreFacts, ...]:
        """The databases that could be read."""
        return tuple(facts for facts in self.store_facts.values() if not isinstance(facts, Unknown))

    def to_run(self, role: Role) -> tuple[str, ...]:
        """Revisions the target would run on one database, oldest first. Raises NotKnown."""
        if self.target is None:
            raise NotKnown("no target release was named")
        chain = known(self.target.heads).chain(role)
        revision = self.store(role).revision
        if revision not in chain:
            raise NotKnown(f"the {role} store is at {revision}, which MLflow {self.target.release} does not know")
        return chain[chain.index(revision) + 1 :]


def known(value: T | Unknown) -> T:
    """The value. Raises NotKnown when it could not be had."""
    if isinstance(value, Unknown):
        raise NotKnown(value.why)
    return value
