"""kill -9 at named side effects of an online upgrade and of its way back, while somebody writes through the gate.

The stub release makes it quick; the gate, capture, fence, journal, databases and processes are real. Whatever the
point: people can write again by themselves, `resume` ends it, and every acknowledged write is there exactly once.
"""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import urllib3

from liftlock.app.upgrade import require_closed_window
from liftlock.app.workspace import Workspace
from liftlock.errors import Refused
from liftlock.model.deployment import Role
from liftlock.stores.opening import live
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW, OLD

pytestmark = pytest.mark.xdist_group("online-crash")

UPGRADE = ("upgrade", "--to", NEW, "--strategy", "online", "--yes")
ROLLBACK = ("rollback", "--yes")
# The two sides of the one commit point; every other side effect in `make soak`.
POINTS = ((UPGRADE, "before:gate switch"), (ROLLBACK, "after:gate switch"))


@dataclass
class Writer:
    """Writes through the gate without a pause and remembers what it was told is done."""

    url: str
    acknowledged: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        pool = urllib3.PoolManager(retries=False, timeout=40)
        number = 0
        while not self.stop.is_set():
            number += 1
            key = f"w{number}"
            body = json.dumps({"method": "log", "args": ["r1", "tags", [[key, "v"]]]})
            try:
                answer = pool.request("POST", f"{self.url}/stub", body=body)
                done = answer.status == 200
                said = f"{answer.status} {answer.data[:200]!r}"
            except urllib3.exceptions.HTTPError as error:
                done, said = False, str(error)
            (self.acknowledged.append(key) if done else self.failed.append(f"{key}: {said}"))
            time.sleep(0.01)


@contextlib.contextmanager
def at_work(directory: Path) -> Iterator[tuple[Deployment, Writer]]:
    deployment = Deployment(directory / "d").make()
    thread = None
    writer = Writer(deployment.url)
    try:
        deployment.ok("gate", "install", "--yes")
        thread = threading.Thread(target=writer.run)
        thread.start()
        yield deployment, writer
    finally:
        writer.stop.set()
        if thread is not None:
            thread.join()
        deployment.end()


def there_once(deployment: Deployment, writer: Writer) -> None:
    """Every acknowledged write is in the live database, once; none failed for good but by a fence that fell later."""
    acknowledged = list(writer.acknowledged)  # before the rows are read: it goes on growing
    store = Workspace.open(deployment.config).stores[Role.TRACKING]
    found = Counter(row["key"] for row in store.rows("SELECT key FROM tags WHERE run_uuid = 'r1'"))
    lost = [key for key in acknowledged if found[key] != 1]
    assert len(acknowledged) > 20 and not lost, (lost, writer.failed[:3])


def goes_on(writer: Writer, *, seconds: float = 30) -> None:
    goal, deadline = len(writer.acknowledged) + 5, time.monotonic() + seconds
    while len(writer.acknowledged) < goal:
        assert time.monotonic() < deadline, writer.failed[-3:]
        time.sleep(0.05)


def tidy(deployment: Deployment, *, old: bool) -> None:
    """On the old side nothing of ours is left; on the new one what the way back needs."""
    workspace = Workspace.open(deployment.config)
    assert workspace.config.server.release == (OLD if old else NEW)
    assert deployment.version() == (OLD if old else NEW)
    assert workspace.journal.open_run() is None
    green = list(deployment.directory.glob("*.liftlock-*"))
    assert bool(green) is not old, green
    assert live(workspace.stores[Role.TRACKING]).captured() is not old


@pytest.mark.parametrize(("verb", "point"), POINTS, ids=[f"{verb[0]}-{point}" for verb, point in POINTS])
def test_killed_it_loses_nothing_and_ends(verb: tuple[str, ...], point: str, tmp_path: Path) -> None:
    with at_work(tmp_path) as (deployment, writer):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        killed = deployment.liftlock(*verb, env={"LIFTLOCK_CRASH_AT": point})
        assert killed.returncode == -signal.SIGKILL, f"{point} was not reached: {killed.stdout}{killed.stderr}"
        goes_on(writer)  # nobody has done anything yet
        begun = Workspace.open(deployment.config).journal.open_run() is not None
        if begun:
            deployment.ok("resume")
            goes_on(writer)
        tidy(deployment, old=begun is (verb is ROLLBACK))
        there_once(deployment, writer)


def test_aborted_then_upgraded_then_finalized_nothing_is_left(tmp_path: Path) -> None:
    with at_work(tmp_path) as (deployment, writer):
        store = deployment.store()
        before = store.schema_dump()
        killed = deployment.liftlock(*UPGRADE, env={"LIFTLOCK_CRASH_AT": "before:gate hold"})
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        deployment.ok("abort")
        tidy(deployment, old=True)
        assert store.schema_dump() == before
        assert not writer.failed
        deployment.ok(*UPGRADE)
        with pytest.raises(Refused, match=r"the way back of upgrade-.* is still open"):
            require_closed_window(Workspace.open(deployment.config))
        goes_on(writer)
        deployment.ok("finalize", "--yes")
        require_closed_window(Workspace.open(deployment.config))
        goes_on(writer)
        workspace = Workspace.open(deployment.config)
        assert not live(workspace.stores[Role.TRACKING]).captured()
        assert not store.exists()
        there_once(deployment, writer)
        assert not writer.failed


def test_steered_from_another_terminal_and_ended_with_ctrl_c(tmp_path: Path) -> None:
    """It waits to be told, says where it is, rests, goes on, cuts over on a word; interrupted, it puts all back."""
    with at_work(tmp_path) as (deployment, writer):
        for ending in ("interrupt", "cut-over"):
            child = deployment.spawn(*UPGRADE, "--cut-over", "manual")
            seen = phase(deployment, "waiting to cut over")
            assert {each["role"] for each in seen["processes"]} >= {"server", "new server", "gate", "upgrade"}
            deployment.ok("pause")
            phase(deployment, "waiting to cut over (paused)")
            deployment.ok("resume")
            phase(deployment, "waiting to cut over")
            child.send_signal(signal.SIGINT) if ending == "interrupt" else deployment.ok("cut-over")
            _, said = child.communicate(timeout=60)
            assert child.returncode == (4 if ending == "interrupt" else 0), said
            goes_on(writer)
            tidy(deployment, old=ending == "interrupt")
        there_once(deployment, writer)
        assert not writer.failed


def phase(deployment: Deployment, wanted: str) -> dict[str, Any]:
    """`status --json` once the upgrade is in this phase."""
    deadline = time.monotonic() + 60
    while True:
        found: dict[str, Any] = json.loads(deployment.ok("status", "--json"))
        if (found["stand"] or {}).get("phase") == wanted:
            return found
        assert time.monotonic() < deadline, found["stand"]


@pytest.mark.soak
@pytest.mark.parametrize("verb", [UPGRADE, ROLLBACK], ids=["upgrade", "rollback"])
def test_killed_before_every_side_effect(verb: tuple[str, ...], tmp_path: Path) -> None:
    log = tmp_path / "effects"
    with at_work(tmp_path / "whole") as (deployment, _):
        if verb is ROLLBACK:
            deployment.ok(*UPGRADE)
        deployment.ok(*verb, env={"LIFTLOCK_EFFECTS_LOG": str(log)})
    names = list(dict.fromkeys(log.read_text().splitlines()))
    print(f"{verb[0]}: {len(names)} side effects")
    for number, name in enumerate(names):
        place = tmp_path / str(number)
        test_killed_it_loses_nothing_and_ends(verb, f"before:{name}", place)
