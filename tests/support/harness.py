"""What an engine offers to the conformance suite: real databases to make, change and hold open."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.stores.interface import Store

StoreFactory = Callable[..., Store]


class StoreHarness(Protocol):
    """One engine, started for a test module. `Harness(directory)` in tests/support/{sqlite,postgres}.py."""

    engine: Engine

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def new_store(self, role: Role, name: str) -> Store:
        """A new database with the schema and the rows of tests/support/mlflow_schema.py."""
        ...

    def execute(self, store: Store, sql: str, params: Mapping[str, Any] | None = None) -> None:
        """Run one statement (`:name` parameters, as in `Store.rows`) on a connection of its own and commit."""
        ...

    def hold_open(self, store: Store) -> AbstractContextManager[int]:
        """Another process has the database open for writing; yields its process id."""
        ...


HARNESSES = {Engine.SQLITE: "tests.support.sqlite", Engine.POSTGRESQL: "tests.support.postgres"}


def make_harness(engine: Engine, directory: Path) -> StoreHarness:
    """The harness of one engine, imported only when it is needed."""
    harness: StoreHarness = importlib.import_module(HARNESSES[engine]).Harness(directory)
    return harness
