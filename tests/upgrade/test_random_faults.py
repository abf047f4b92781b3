"""At random moments of an online upgrade and of its way back something dies or freezes, while real clients write.

Nothing acknowledged is lost. What a client of 2.9.2 sends again by itself after a connection broke (`create_run`, up to
three times) may be there twice: that is its own doing, and only where a server, the gate or PostgreSQL was killed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from liftlock.app import server
from liftlock.demo.load import judge
from liftlock.model.uri import Engine
from liftlock.verify.http import Client
from tests.support import releases
from tests.upgrade.test_online import Story, story

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
ROUNDS = 6
LONGEST_FREEZE = 30.0
Harm = Callable[[Story, subprocess.Popen[str]], None]


def kill_orchestrator(_: Story, child: subprocess.Popen[str]) -> None:
    child.kill()


def freeze_orchestrator(_: Story, child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGSTOP)
    time.sleep(LONGEST_FREEZE)
    child.send_signal(signal.SIGCONT)


def kill_worker(_: Story, child: subprocess.Popen[str]) -> None:
    for each in psutil.Process(child.pid).children(recursive=True):
        if any(word.endswith("inside/worker.py") for word in each.cmdline()):
            each.kill()


def kill_role(role: str) -> Harm:
    def harm(told: Story, _: subprocess.Popen[str]) -> None:
        found = json.loads(told.run("status", "--json").stdout)["processes"]
        for each in found:
            if each["role"] == role:
                os.kill(each["pid"], signal.SIGKILL)

    harm.__name__ = f"kill {role}"
    return harm


def crash_postgresql(told: Story, _: subprocess.Popen[str]) -> None:
    assert told.server is not None
    told.server.kill()
    told.server.start()


HARMLESS: tuple[Harm, ...] = (kill_orchestrator, freeze_orchestrator, kill_worker, kill_role("new server"))
BREAKING: tuple[Harm, ...] = (kill_role("gate"), kill_role("server"))


@pytest.mark.parametrize("engine", [Engine.SQLITE, Engine.POSTGRESQL])
def test_nothing_acknowledged_is_lost(engine: Engine, tmp_path: Path) -> None:
    seed = int(os.environ.get("LIFTLOCK_SEED", time.time_ns() % 10**6))
    chance = random.Random(seed)
    print(f"LIFTLOCK_SEED={seed}")
    harms = [*HARMLESS, *BREAKING, *([crash_postgresql] if engine is Engine.POSTGRESQL else [])]
    with story("2.9.2", tmp_path, engine) as told:
        broke = False
        for _ in range(ROUNDS):
            back = told.workspace.config.server.release != "2.9.2"
            words = ("rollback", "--yes") if back else ("upgrade", "--to", releases.newest(), "--yes")
            harm, after = chance.choice(harms), chance.uniform(0.5, 20.0)
            child = begin(told, *words)
            try:
                child.wait(after)
                after = float("nan")  # it was quicker
            except subprocess.TimeoutExpired:
                broke = broke or harm not in HARMLESS
                harm(told, child)
            _, said = child.communicate(timeout=300)
            print(f"{words[0]}, {getattr(harm, '__name__', harm)} after {after:.1f} s: status {child.returncode}")
            if told.workspace.journal.open_run() is not None:  # whatever died: these two see to it themselves
                way = chance.choice(["resume", "abort"])
                ended = told.run(way)
                print(f"{way}: status {ended.returncode}")
                assert ended.returncode in (0, 4), ended.stderr
            else:
                assert child.returncode in (0, 3, 4), said
            stand_up(told)
            told.load.await_writes(20, timeout=60)
        told.load.stop()
        outcome = judge(told.load, told.tracking, Client(told.made.url))
        assert outcome.acknowledged > 500
        assert outcome.lost == ()
        assert not outcome.doubled or broke, outcome.doubled
        assert all(" run " in f" {each} " or each.startswith("run ") for each in outcome.doubled), outcome.doubled


def begin(told: Story, *words: str) -> subprocess.Popen[str]:
    start = "from liftlock.cli.main import main; main()"
    argv = [sys.executable, "-c", start, "--config", str(told.made.directory / "liftlock.toml"), *words]
    return subprocess.Popen(argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def stand_up(told: Story) -> None:
    """What was killed while no run needed it is started by its owner."""
    if told.run("gate", "status").returncode != 0:
        told.run("gate", "install", "--yes")
    if told.workspace.server() is None:
        server.start(told.workspace)
