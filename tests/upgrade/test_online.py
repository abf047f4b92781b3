"""The online upgrade on real releases: real old clients write throughout, and every acknowledged write is looked for.

The ledger is the clients' own (`demo/load.py`); a database must end with the schema of a plain `mlflow db upgrade`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from liftlock.app import gate as gates
from liftlock.app import gate_process, upgrade
from liftlock.app.planning import make_plan
from liftlock.app.workspace import Workspace
from liftlock.demo.load import Load, Outcome, judge, writing
from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.model.plan import Strategy
from liftlock.model.uri import Engine
from liftlock.stores.interface import Store
from liftlock.stores.opening import live
from liftlock.verify.http import Client
from tests.support import releases
from tests.support.twin import tell
from tests.support.upgrades import Deployment, copied, deployment, migrated_by_hand, stop

pytestmark = pytest.mark.xdist_group("online")


@dataclass
class Story:
    """A deployment behind a gate, with people at work."""

    made: Deployment
    load: Load
    server: PostgresServer | None

    @property
    def workspace(self) -> Workspace:
        return self.made.workspace

    @property
    def tracking(self) -> Store:
        return self.workspace.stores[Role.TRACKING]

    def judge(self) -> Outcome:
        """End the load and look for everything that was acknowledged."""
        self.load.stop()
        return judge(self.load, self.tracking, Client(self.made.url))

    def run(self, *words: str, crash: str = "") -> subprocess.CompletedProcess[str]:
        """liftlock as a process of its own, to be killed at a side effect."""
        env = {**os.environ, **({"LIFTLOCK_CRASH_AT": crash} if crash else {})}
        config = str(self.made.directory / "liftlock.toml")
        start = "from liftlock.cli.main import main; main()"
        argv = [sys.executable, "-c", start, "--config", config, *words]
        return subprocess.run(argv, env=env, text=True, capture_output=True, timeout=300)


@contextlib.contextmanager
def story(version: str, directory: Path, engine: Engine) -> Iterator[Story]:
    with ExitStack() as stack:
        server = stack.enter_context(PostgresServer(directory / "pg")) if engine is Engine.POSTGRESQL else None
        place = directory / "deployment"
        place.mkdir()
        made = stack.enter_context(deployment(version, place, server=server, auth=False))
        gates.install(made.workspace)
        stack.callback(_end_gate, made.workspace)
        stack.callback(stop, made)
        load = stack.enter_context(writing(releases.environment(version), made.url, directory / "load", clients=2))
        load.await_writes(20)
        yield Story(made, load, server)


def _end_gate(workspace: Workspace) -> None:
    """Whichever runs: a test may have killed the first one."""
    reply = gate_process.running(gate_process.directory(workspace))
    if reply is not None:
        os.kill(reply.pid, signal.SIGTERM)


def lossless(outcome: Outcome) -> bool:
    assert outcome.acknowledged > 100
    return (outcome.failed, outcome.lost, outcome.doubled) == ((), (), ())


def refused(store: Store) -> str:
    """What a writer that bypasses the gate is told."""
    statement = "UPDATE runs SET name = name"
    try:
        if store.uri.engine is Engine.SQLITE:
            import sqlite3

            with contextlib.closing(sqlite3.connect(store.uri.path)) as connection, connection:
                connection.execute(statement)
        else:
            import psycopg

            with psycopg.connect(store.uri.reveal()) as other:
                other.execute(statement)
    except Exception as error:
        return str(error)
    return ""


def test_killed_in_the_hold_then_resumed_then_rolled_back(tmp_path: Path) -> None:
    """The same history is told to a twin that is never upgraded: in the end an old client reads the same from both."""
    twin = tmp_path / "twin"
    twin.mkdir()
    with story("2.9.2", tmp_path, Engine.SQLITE) as told, releases.serving("2.9.2", twin) as twin_url:

        def equal(seed: int) -> bool:
            return tell("2.9.2", told.made.url, tmp_path / "names", seed, 40) == tell(
                "2.9.2", twin_url, twin / "names", seed, 40
            )

        assert equal(1)
        old, schema = told.tracking, told.tracking.schema_dump()
        target = releases.newest()
        killed = told.run("upgrade", "--to", target, "--strategy", "online", "--yes", crash="before:gate switch")
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        told.load.await_writes(10, timeout=20)  # gate and fence let go by themselves
        resumed = told.run("resume")
        assert resumed.returncode == 0, resumed.stderr
        assert told.workspace.config.server.release == target
        assert "liftlock" in refused(old) and not refused(told.tracking)
        told.load.await_writes(20)
        before = told.load.written()
        assert equal(2)
        back = upgrade.rollback(told.workspace)
        assert back.write_hold_seconds is not None and back.write_hold_seconds < 4
        told.load.await_writes(20)
        assert told.load.written() > before
        assert told.workspace.config.server.release == "2.9.2"
        assert not refused(old)
        assert equal(3)
        assert lossless(told.judge())
        assert told.tracking.schema_dump() == schema
        assert not list(told.made.directory.glob("*.liftlock-*"))


def test_postgresql_there_and_back(tmp_path: Path) -> None:
    with story("2.9.2", tmp_path, Engine.POSTGRESQL) as told:
        old, schema = told.tracking, told.tracking.schema_dump()
        plan = make_plan(told.workspace, releases.newest())
        assert plan.strategy is Strategy.ONLINE  # the best where a gate stands
        done = upgrade.upgrade(told.workspace, plan)
        assert done.write_hold_seconds is not None and done.write_hold_seconds < 4
        green = told.tracking
        assert "liftlock" in refused(old) and not refused(green)
        told.load.await_writes(20)
        upgrade.rollback(told.workspace)
        told.load.await_writes(20)
        assert not refused(old)
        assert lossless(told.judge())
        assert told.tracking.schema_dump() == schema
        assert not green.exists()


@pytest.mark.soak
@pytest.mark.parametrize("engine", [Engine.SQLITE, Engine.POSTGRESQL])
@pytest.mark.parametrize("version", ["2.22.5", "3.4.0", "3.16.1"])
def test_finalized_is_as_migrated_by_hand(version: str, engine: Engine, tmp_path: Path) -> None:
    with story(version, tmp_path, engine) as told:
        old = told.tracking
        oracle = migrated_by_hand(copied(old.uri, Role.TRACKING, told.server), Role.TRACKING, releases.newest())
        upgrade.upgrade(told.workspace, make_plan(told.workspace, releases.newest(), Strategy.ONLINE))
        told.load.await_writes(20)
        upgrade.finalize(told.workspace)
        told.load.await_writes(20)
        assert lossless(told.judge())
        assert told.tracking.schema_dump() == oracle.schema_dump()
        assert not old.exists()
        assert not live(told.tracking).captured()
