"""A rolling upgrade and its way back, killed and failing, while somebody writes; the stub release makes it quick."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liftlock.app.workspace import Workspace
from liftlock.demo.postgres import PostgresServer
from liftlock.model import shared_schema
from liftlock.model.deployment import Role
from liftlock.stores import postgresql_shared as shared
from tests.support.at_work import Writer, at_work, goes_on, there_once
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, NEW_HEAD, OLD, OLD_HEAD

UPGRADE = ("upgrade", "--to", NEW, "--strategy", "rolling", "--stay", "0.3", "--yes")
ROLLBACK = ("rollback", "--yes")


pytestmark = pytest.mark.xdist_group("rolling")


@pytest.fixture(scope="module")
def rehearsals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one rehearsal measured and showed: the deployments here are equal, and each would find the same."""
    with rehearsed(tmp_path_factory.mktemp("rehearsal"), None) as (deployment, _):
        return Path(shutil.copytree(deployment.state / "rehearsals", tmp_path_factory.mktemp("kept") / "rehearsals"))


@contextmanager
def rehearsed(directory: Path, known: Path | None) -> Iterator[tuple[Deployment, Writer]]:
    """A deployment on PostgreSQL behind a gate, whose rehearsal has shown that both releases can share it."""
    with (
        PostgresServer(directory / "pg") as server,
        at_work(directory, tracking=server.create_database("mlflow").reveal()) as (deployment, writer),
    ):
        if known is None:
            deployment.ok("rehearse", "--to", NEW)
        else:
            shutil.copytree(known, deployment.state / "rehearsals")
        yield deployment, writer


def stands(deployment: Deployment, *, release: str, migrated: bool, beside: bool) -> None:
    """Which release serves, at which revision the database is, and whether the old one has its own version table."""
    workspace = Workspace.open(deployment.config)
    store = workspace.stores[Role.TRACKING]
    assert (workspace.config.server.release, deployment.version()) == (release, release)
    assert store.revision() == (NEW_HEAD if migrated else OLD_HEAD)
    assert shared.given(store.uri) == ((OLD_HEAD,) if beside else ())
    own = shared_schema.served(workspace.config.server.environment)
    assert own == (OLD_HEAD if migrated and release == OLD else None)
    assert workspace.journal.open_run() is None
    assert len(deployment.servers()) == 1


def test_there_and_back_and_there_again(tmp_path: Path, rehearsals: Path) -> None:
    """The way back is routing: the old release serves the migrated database. From there the upgrade is a restart."""
    with rehearsed(tmp_path, rehearsals) as (deployment, writer):
        deployment.ok(*UPGRADE)
        stands(deployment, release=NEW, migrated=True, beside=True)
        goes_on(writer)
        assert "one database" in deployment.ok(*ROLLBACK)
        stands(deployment, release=OLD, migrated=True, beside=True)
        goes_on(writer)
        deployment.ok("server", "restart")
        deployment.ok("check")
        writer.stop.set()  # a restart compares what both servers say of every run
        deployment.ok("upgrade", "--to", NEW, "--yes")
        stands(deployment, release=NEW, migrated=True, beside=True)
        deployment.ok("finalize", "--yes")
        stands(deployment, release=NEW, migrated=True, beside=False)
        there_once(deployment, writer)


@pytest.mark.parametrize(
    ("point", "migrated"),
    [
        pytest.param("before:start server", False, marks=pytest.mark.soak),
        ("after:gate switch", False),
        pytest.param("before:migrate tracking", False, marks=pytest.mark.soak),
        pytest.param("after:migrate tracking", True, marks=pytest.mark.soak),
        ("after:gate share", True),
        pytest.param("before:gate switch#2", True, marks=pytest.mark.soak),
    ],
)
def test_killed_then_aborted(point: str, migrated: bool, tmp_path: Path, rehearsals: Path) -> None:
    """Before the migration nothing is left; after it the old release serves on, with a version table of its own."""
    with rehearsed(tmp_path, rehearsals) as (deployment, writer):
        killed = deployment.liftlock(*UPGRADE, env={"LIFTLOCK_CRASH_AT": point})
        assert killed.returncode == -signal.SIGKILL, f"{point} was not reached: {killed.stdout}{killed.stderr}"
        goes_on(writer)
        deployment.ok("abort")
        goes_on(writer)
        stands(deployment, release=OLD, migrated=migrated, beside=migrated)
        there_once(deployment, writer)


@pytest.mark.parametrize(
    "point", ["after:migrate tracking", pytest.param("after:gate switch#2", marks=pytest.mark.soak)]
)
def test_killed_then_resumed(point: str, tmp_path: Path, rehearsals: Path) -> None:
    with rehearsed(tmp_path, rehearsals) as (deployment, writer):
        killed = deployment.liftlock(*UPGRADE, env={"LIFTLOCK_CRASH_AT": point})
        assert killed.returncode == -signal.SIGKILL, f"{point} was not reached: {killed.stdout}{killed.stderr}"
        goes_on(writer)
        deployment.ok("resume")
        stands(deployment, release=NEW, migrated=True, beside=True)
        goes_on(writer)
        there_once(deployment, writer)
