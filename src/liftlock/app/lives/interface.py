"""An upgrade as the journal tells it, and what a strategy has to say about its life."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from liftlock.app.since import WritesSince
from liftlock.app.workspace import Workspace
from liftlock.describe import config as configuration
from liftlock.engine.interface import Payload, Step
from liftlock.model.codec import Value, from_builtins, from_json
from liftlock.model.journal import RunState
from liftlock.model.plan import Plan
from liftlock.online.control import When
from liftlock.releases.tools import Heads
from liftlock.runtimes.interface import Handle

CONFIG = "liftlock.toml"
PLAN = "plan.json"


class Wishes(Value, frozen=True):
    """What the operator wants of an upgrade. `when` to cut over, `load`: the share of time that following may take
    (online); `stay`: seconds at each share of the reads (rolling).
    """

    when: When = When()
    load: float = 1.0
    stay: float = 5.0


@dataclass(frozen=True)
class Run:
    """A journalled run and what it began with. `workspace` is the deployment as it is now."""

    workspace: Workspace
    state: RunState

    @functools.cached_property
    def original(self) -> str:
        """The text of liftlock.toml when it began."""
        return self.workspace.run_text(self.state, CONFIG)

    @functools.cached_property
    def began(self) -> Workspace:
        """The deployment as it was then."""
        return Workspace(configuration.loads(self.original, self.workspace.config.path))

    @functools.cached_property
    def plan(self) -> Plan:
        """The plan of an upgrade."""
        return plan_of(self.workspace, self.state)

    @property
    def handle(self) -> Handle | None:
        """The server that ran when it began."""
        found = self.state.payload.get("server")
        return from_builtins(found, Handle) if found else None

    @property
    def directory(self) -> Path:
        """Its private directory."""
        return self.workspace.run_directory(self.state)

    @property
    def outcomes(self) -> dict[str, Payload]:
        """What each of its steps left, by name."""
        return {step.name: step.outcome for step in self.state.steps}


class Life(Protocol):
    """One strategy. `window`: while it can be rolled back something stands in a database for that, so the next upgrade
    has to wait for `finalize`. `half_way`: one that stopped for a person after the new server was opened can be rolled
    back as it stands.
    """

    window: bool
    half_way: bool

    def chosen(self, workspace: Workspace, plan: Plan, wishes: Wishes) -> Payload:
        """What is decided once and journalled when it begins. Raises UsageError for a wish that it cannot meet."""
        ...

    def there(self, run: Run, heads: Heads) -> tuple[Step, ...]:
        """The steps of the upgrade, in the plan's order. `heads` are the target's."""
        ...

    def back(self, run: Run, rollback: Run, *, old_python: Path) -> tuple[Step, ...]:
        """The steps of its rollback, which is a run of its own."""
        ...

    def since(self, run: Run) -> WritesSince:
        """What was written since, and what becomes of it in a rollback."""
        ...

    def finalize(self, run: Run) -> None:
        """Take away what the way back needed. May be repeated."""
        ...

    def stays(self, run: Run) -> str:
        """What an upgrade that failed left although it was put back; empty where nothing."""
        ...


def plan_of(workspace: Workspace, state: RunState) -> Plan:
    """The plan that an upgrade runs."""
    return from_json(workspace.run_text(state, PLAN), Plan)
