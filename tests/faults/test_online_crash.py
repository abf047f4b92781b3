"""kill -9 at named side effects of an online upgrade and of its way back, while somebody writes through the gate.

The stub release makes it quick; the gate, capture, fence, journal, databases and processes are real. Whatever the
point: people can write again by themselves, `resume` ends it, and every acknowledged write is there exactly once.
"""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from liftlock.app.upgrade import require_closed_window
from liftlock.app.workspace import Workspace
from liftlock.errors import Refused
from liftlock.model.deployment import Role
from liftlock.stores.opening import live
from tests.support.at_work import at_work, goes_on, there_once, tidy
from tests.support.deployment import Deployment
from tests.support.stub_release import NEW

pytestmark = pytest.mark.xdist_group("online-crash")

UPGRADE = ("upgrade", "--to", NEW, "--strategy", "online", "--yes")
ROLLBACK = ("rollback", "--yes")
# The two sides of the one commit point; every other side effect in `make soak`.
POINTS = ((UPGRADE, "before:gate switch"), (ROLLBACK, "after:gate switch"))


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
