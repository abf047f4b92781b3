"""One deployment with everything wired: configuration, stores, runtime, environments, journal, lock."""

from __future__ import annotations

import functools
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from liftlock.app.runfiles import RunFiles, digest
from liftlock.describe import config as configuration
from liftlock.describe.config import Config
from liftlock.engine.journal import Journal, unfinished
from liftlock.engine.lock import Owner, exclusive, holder, taken
from liftlock.errors import Refused
from liftlock.model.deployment import Deployment, Role
from liftlock.model.journal import RunKind, RunState
from liftlock.runtimes.interface import Handle
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store

if TYPE_CHECKING:
    from liftlock.engine.executor import Executor
    from liftlock.releases.environment import Environments
    from liftlock.runtimes.process import ProcessRuntime


class Workspace:
    """The directory of one liftlock.toml. Everything is made on first use, so that `status` stays quick."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @classmethod
    def open(cls, path: Path | None = None) -> Workspace:
        """Load the configuration that was named or is found. Raises UsageError."""
        return cls(configuration.load(path or configuration.find()))

    @property
    def state(self) -> Path:
        """The private state directory (made on first use)."""
        return self.config.ensure_state()

    @functools.cached_property
    def journal(self) -> Journal:
        """The journal of this deployment."""
        return Journal(self.config.state_directory / "journal.db")

    @functools.cached_property
    def stores(self) -> dict[Role, Store]:
        """The databases the configuration names."""
        return {role: open_store(self.config.store_uri(role), role) for role in self.config.roles()}

    @functools.cached_property
    def runtime(self) -> ProcessRuntime:
        """What runs the server."""
        from liftlock.runtimes.process import ProcessRuntime

        slot = self.config.server.slot
        return ProcessRuntime(self.state / "servers" / slot if slot else self.state)

    @functools.cached_property
    def environments(self) -> Environments:
        """The cache of release environments."""
        from liftlock.releases.environment import Environments

        return Environments()

    def lock(self, doing: str) -> AbstractContextManager[Owner]:
        """Hold the deployment's lock. Raises Refused when another operator is at work."""
        return exclusive(self.state, doing)

    def holder(self) -> Owner | None:
        """Who is at work now, or None."""
        return holder(self.config.state_directory)

    def require_no_run(self) -> None:
        """Raise Refused while a run is unfinished: it knows in which state the deployment is, nobody else does."""
        open_run = self.journal.open_run()
        if open_run is not None:
            raise self.unfinished(open_run)

    def unfinished(self, run: RunState) -> Refused:
        """The refusal for whoever would begin something while this run is open: somebody may be at it, or nobody."""
        working = self.holder()
        return unfinished(run) if working is None or working.pid == os.getpid() else taken(working)

    def server(self) -> Handle | None:
        """The running server: the one liftlock started, else whatever MLflow server serves the configured port."""
        from liftlock.runtimes import process_tree

        found = self.runtime.find()
        if found is not None or process_tree.mentioning("mlflow") == []:
            return found
        from liftlock.describe.process import find_on_port

        return find_on_port(self.config.server.port)

    def deployment(self, *, exact_rows: bool = False) -> Deployment:
        """Observe everything. Raises Refused when server and configuration disagree, StoreError, ServerError."""
        from liftlock.describe.observe import observe

        facts = {role: store.facts(exact_rows=exact_rows) for role, store in self.stores.items()}
        return observe(self.config, stores=facts, handle=self.server())

    def begin(
        self, executor: Executor, kind: RunKind, operator: str, payload: dict[str, Any], texts: dict[str, str]
    ) -> RunState:
        """Open a run whose `texts` (by file name) come back to the letter on resume."""
        return executor.begin(
            kind,
            operator,
            {**payload, "files": {name: digest(text) for name, text in texts.items()}},
            prepare=lambda run: RunFiles(self.state, run).write(texts),
        )

    def run_text(self, state: RunState, name: str) -> str:
        """A text the run began with. Raises JournalError when it was changed since."""
        return RunFiles(self.state, state.id).read(state, name)

    def run_directory(self, state: RunState) -> Path:
        """The private directory of a run."""
        return RunFiles(self.state, state.id).directory
