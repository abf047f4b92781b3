"""The two sides of an online upgrade: the site that serves now, the one that will, and what flows between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from liftlock.engine.interface import Context, Payload
from liftlock.errors import ReleaseError
from liftlock.gate.client import GateClient
from liftlock.gate.model import Address
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.online.control import Control
from liftlock.online.converge import Pace
from liftlock.online.flow import Flow, Rules
from liftlock.online.parking import Parking
from liftlock.releases.tools import WarmWorker
from liftlock.runtimes.interface import ServerSpec
from liftlock.steps.migrate import Warmth, cached
from liftlock.steps.site import Site
from liftlock.stores.live import Live

Worker = Callable[[], WarmWorker]


class RulesMaker(Protocol):
    """Makes the rules between both sides; the worker they may ask for is one of the target release.

    `parking` holds, per database, what a rollback could not carry to the old schema.
    """

    parking: Mapping[Role, Parking]

    def forward(self, role: Role, worker: Worker) -> Rules:
        """From blue to green."""
        ...

    def backward(self, role: Role, worker: Worker) -> Rules:
        """From green to blue."""
        ...

    def close(self) -> None:
        """Remove what they needed."""
        ...


@dataclass(frozen=True)
class Sides:
    """`blue` and `green` are the databases of the `old` and the `new` site. `gate` is the gate's control socket.

    `load` is the share of time that copying and catching up may take (1.0: as quick as it goes). `revive` starts a
    dead gate again. `earlier` holds the outcomes of the upgrade's steps when this is its rollback.
    """

    old: Site
    new: Site
    blue: Mapping[Role, Live]
    green: Mapping[Role, Live]
    gate: Path
    rules: RulesMaker
    control: Control
    warmth: Warmth
    load: float = 1.0
    revive: Callable[[], None] = lambda: None
    earlier: Mapping[str, Payload] = field(default_factory=dict)

    @property
    def source(self) -> Release:
        """The release people leave."""
        return self.old.jump.source

    @property
    def target(self) -> Release:
        """The release they go to."""
        return self.old.jump.target

    def pace(self) -> Pace:
        """How fast to go."""
        return Pace(load=self.load)

    def flows(self, context: Context) -> tuple[Flow, ...]:
        """From blue to green, one per database."""
        return tuple(
            Flow(role, self.blue[role], self.green[role], self.rules.forward(role, lambda: self._worker(context)))
            for role in self.blue
        )

    def back(self, context: Context) -> tuple[Flow, ...]:
        """From green to blue."""
        return tuple(
            Flow(role, self.green[role], self.blue[role], self.rules.backward(role, lambda: self._worker(context)))
            for role in self.blue
        )

    def live(self) -> Address:
        """The server that the gate sends people to now. Raises GateError."""
        with GateClient(self.gate) as client:
            return client.status().state.upstream

    def address(self, site: Site, python: Path, release: Release) -> Address:
        """Where a site's server listens."""
        spec: ServerSpec = site.spec(python, release)
        return Address(host=spec.host, port=spec.port)

    def _worker(self, context: Context) -> WarmWorker:
        worker = self.warmth.take()
        if worker is None:
            name = "build-environments"
            built = context.outcome(name) or self.earlier.get(name) or context.noted("environments") or {}
            environment = cached(self.new.environments, str(built.get("new_lock_digest", "")))
            if environment is None:
                raise ReleaseError(f"the environment of MLflow {self.target} is gone from the cache")
            self.warmth.begin(environment)
            worker = self.warmth.take()
        assert worker is not None, "it was just begun"
        return worker
