"""Others die during an online upgrade: the gate, a server, the migration worker, PostgreSQL; or the disk is full.

liftlock stops itself at a named side effect (SIGSTOP), harm is done at that very point, and it goes on. Whatever it
was: it finishes or returns by itself, and every acknowledged write is there exactly once.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from liftlock.app.workspace import Workspace
from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.stores.opening import live
from tests.support.at_work import Writer, at_work, goes_on, there_once, tidy
from tests.support.deployment import Deployment
from tests.support.disks import small_disk
from tests.support.stub_release import NEW, OLD

UPGRADE = ("upgrade", "--to", NEW, "--strategy", "online", "--yes")
ROLLBACK = ("rollback", "--yes")
DONE, PUT_BACK = 0, 4
Harm = Callable[[Deployment], None]


def kill(role: str, *, must: bool = True) -> Harm:
    """kill -9 the process that `status` gives this role."""

    def harm(deployment: Deployment) -> None:
        found = json.loads(deployment.ok("status", "--json"))["processes"]
        pids = [each["pid"] for each in found if each["role"] == role]
        assert pids or not must, found
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    return harm


def kill_worker(deployment: Deployment) -> None:
    workers = [p for p in deployment.processes() if any(word.endswith("inside/worker.py") for word in p.cmdline())]
    assert workers
    for worker in workers:
        worker.kill()


def frozen(deployment: Deployment, verb: tuple[str, ...], point: str) -> subprocess.Popen[str]:
    """liftlock, stopped at a side effect."""
    child = deployment.spawn(*verb, env={"LIFTLOCK_STOP_AT": point})
    process, deadline = psutil.Process(child.pid), time.monotonic() + 60
    while process.status() != psutil.STATUS_STOPPED:
        if child.poll() is not None or time.monotonic() > deadline:
            out, err = child.communicate()
            raise AssertionError(f"{point} was not reached: {out}{err}")
        time.sleep(0.01)
    return child


def harmed(
    deployment: Deployment, writer: Writer, verb: tuple[str, ...], point: str, harm: Harm, *, ends: int | None = None
) -> int:
    """Do harm at a point and let liftlock go on; its exit status, after people could write again."""
    child = frozen(deployment, verb, point)
    harm(deployment)
    child.send_signal(signal.SIGCONT)
    out, err = child.communicate(timeout=120)
    begun = any(run.kind.value == verb[0] for run in Workspace.open(deployment.config).journal.runs())
    expected = [ends] if ends is not None else [DONE, PUT_BACK] if begun else [2, 3]
    assert child.returncode in expected, (child.returncode, out, err)
    # What was killed while nobody of ours needed it is started by its owner.
    for words in (("gate", "install", "--yes"), ("server", "start")):
        if deployment.version() is None:
            deployment.liftlock(*words)
    goes_on(writer)
    tidy(deployment, old=(child.returncode == DONE) is (verb is ROLLBACK))
    there_once(deployment, writer)
    return child.returncode


@pytest.mark.parametrize(
    ("verb", "point", "role", "ends"),
    [
        (UPGRADE, "after:fence writes", "gate", DONE),
        (ROLLBACK, "before:gate switch", "gate", DONE),
        (UPGRADE, "before:gate hold", "server", DONE),
        (UPGRADE, "before:gate hold", "new server", PUT_BACK),
    ],
)
def test_a_process_is_killed(verb: tuple[str, ...], point: str, role: str, ends: int, tmp_path: Path) -> None:
    with at_work(tmp_path) as (deployment, writer):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        harmed(deployment, writer, verb, point, kill(role), ends=ends)


def test_the_migration_worker_is_killed(tmp_path: Path) -> None:
    """basic-auth is translated whole, by the release's own migrations in a worker."""
    with at_work(tmp_path, auth=f"sqlite:///{tmp_path / 'auth.db'}") as (deployment, writer):
        harmed(deployment, writer, UPGRADE, "before:migrate scratch", kill_worker, ends=DONE)


def test_the_disk_is_full(tmp_path: Path) -> None:
    """What people write then fails, as it would without us; the upgrade ends, and nothing acknowledged is lost."""
    place = tmp_path / "small"
    ballast = place / "ballast"

    def fill(deployment: Deployment) -> None:
        ballast.write_bytes(b"\0" * max(0, shutil.disk_usage(place).free - 4096))

    with (
        small_disk(place, "3m"),
        at_work(tmp_path, tracking=f"sqlite:///{place / 'mlflow.db'}") as (deployment, writer),
    ):
        child = frozen(deployment, UPGRADE, "before:migrate green tracking")
        fill(deployment)
        time.sleep(1.0)
        child.send_signal(signal.SIGCONT)
        out, err = child.communicate(timeout=120)
        ballast.unlink()
        assert child.returncode == PUT_BACK, (child.returncode, out, err)
        goes_on(writer)
        assert not list(place.glob("*.liftlock-*"))
        assert not live(Workspace.open(deployment.config).stores[Role.TRACKING]).captured()
        assert deployment.version() == OLD
        there_once(deployment, writer)


@contextmanager
def on_postgresql(directory: Path) -> Iterator[tuple[Deployment, Writer, Harm]]:
    """A deployment whose PostgreSQL can be killed; what it acknowledged is on disk."""
    with PostgresServer(directory / "pg") as server:
        uri = server.create_database("mlflow").reveal()
        with at_work(directory, tracking=uri) as (deployment, writer):

            def crash(_: Deployment) -> None:
                server.kill()
                server.start()

            yield deployment, writer, crash


@pytest.mark.parametrize(
    ("verb", "point"),
    [
        (UPGRADE, "after:migrate green tracking"), (UPGRADE, "after:fence"),
        (ROLLBACK, "before:discard database"), (ROLLBACK, "before:drop schema liftlock"),
    ],
)  # fmt: skip
def test_postgresql_is_killed(verb: tuple[str, ...], point: str, tmp_path: Path) -> None:
    with on_postgresql(tmp_path) as (deployment, writer, crash):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        harmed(deployment, writer, verb, point, crash, ends=DONE)


def effects(deployment: Deployment, verb: tuple[str, ...], log: Path) -> list[str]:
    """The names of all side effects of a verb that goes well."""
    deployment.ok(*verb, env={"LIFTLOCK_EFFECTS_LOG": str(log)})
    return list(dict.fromkeys(log.read_text().splitlines()))


@pytest.mark.soak
@pytest.mark.parametrize("role", ["gate", "server", "new server"])
@pytest.mark.parametrize("verb", [UPGRADE, ROLLBACK], ids=["upgrade", "rollback"])
def test_a_process_is_killed_at_every_side_effect(verb: tuple[str, ...], role: str, tmp_path: Path) -> None:
    with at_work(tmp_path / "whole") as (deployment, _):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        names = effects(deployment, verb, tmp_path / "effects")
    for number, name in enumerate(names):
        with at_work(tmp_path / str(number)) as (deployment, writer):
            if verb is ROLLBACK:
                deployment.ok(*UPGRADE)
            ended = harmed(deployment, writer, verb, f"before:{name}", kill(role, must=False))
            print(f"{verb[0]}, {role} killed before {name}: {'done' if ended == DONE else 'put back'}")


@pytest.mark.soak
@pytest.mark.parametrize("verb", [UPGRADE, ROLLBACK], ids=["upgrade", "rollback"])
def test_postgresql_is_killed_at_every_side_effect(verb: tuple[str, ...], tmp_path: Path) -> None:
    with on_postgresql(tmp_path / "whole") as (deployment, _, _):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        names = effects(deployment, verb, tmp_path / "effects")
    for number, name in enumerate(names):
        with on_postgresql(tmp_path / str(number)) as (deployment, writer, crash):
            if verb is ROLLBACK:
                deployment.ok(*UPGRADE)
            ended = harmed(deployment, writer, verb, f"before:{name}", crash)
            print(f"{verb[0]}, PostgreSQL killed before {name}: {'done' if ended == DONE else 'put back'}")
