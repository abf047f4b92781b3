"""The server dies, is restarted, and is upgraded by liftlock, under applications that must not notice."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from faulty_proxy import proxied
from ledgers import compare, ledger
from liftlock.app import gate, server
from liftlock.app import upgrade as life
from liftlock.app.planning import make_plan
from liftlock.model.deployment import Role
from liftlock.model.journal import RunOutcome
from liftlock.model.plan import Strategy
from liftlock.proc import kill_group
from liftlock.releases.tools import PopulateSize
from tests.support import releases, upgrades
from tracking_support import begin, ended, held_up, ship

from liftlock_tracking.breaker import LONGEST_PAUSE

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("tracking-upgrades")]
FEW = PopulateSize(experiments=1, runs=1, points=1, params=1, tags=1, artifacts=0, models=0, versions=0, traces=0)


@pytest.mark.parametrize("strategy", [Strategy.STANDARD, pytest.param(Strategy.ONLINE, marks=pytest.mark.soak)])
def test_killed_restarted_and_upgraded_by_liftlock_under_two_applications(
    strategy: Strategy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients of both releases keep logging to one URI: kill -9, a restart, `liftlock upgrade`; online also back."""
    monkeypatch.setenv("LIFTLOCK_CACHE", str(releases.cache_root()))
    old, new = releases.OLD, releases.newest()
    folder, stop = tmp_path / "server", tmp_path / "stop"
    folder.mkdir()
    with ExitStack() as stack:
        made = stack.enter_context(upgrades.deployment(old, folder, server=None, auth=False, size=FEW))
        proxy = stack.enter_context(proxied(made.url))
        stack.callback(stop.touch)
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        words = ("--nap", "0.2", "--until", str(stop))
        most = 120 if strategy is Strategy.STANDARD else 2000
        apps = [
            begin(releases.environment(version).python, tmp_path, uri, seed, most, *words)
            for seed, version in (("31", old), ("32", new))
        ]
        busy(tmp_path, "31", "32")
        running = made.workspace.server()
        assert running is not None
        kill_group(running.pid)
        while made.workspace.server() is not None:
            time.sleep(0.05)
        server.start(made.workspace)
        if strategy is Strategy.ONLINE:
            reply = gate.install(made.workspace)
            stack.callback(os.kill, reply.pid, signal.SIGTERM)
        plan = make_plan(made.workspace, new)
        assert plan.strategy is strategy
        assert life.upgrade(made.workspace, plan).outcome is RunOutcome.DONE
        if strategy is Strategy.ONLINE:
            assert life.rollback(made.workspace).outcome is RunOutcome.DONE
            assert life.upgrade(made.workspace, make_plan(made.workspace, new)).outcome is RunOutcome.DONE
        assert [app.poll() for app in apps] == [None, None], (tmp_path / "log").read_text()
        stop.touch()
        for app in apps:
            ended(app, tmp_path)
        ship(releases.environment(new).python, tmp_path, uri)
        assert made.workspace.config.server.release == new
        assert compare(made.workspace.stores[Role.TRACKING].uri.path, ledger(tmp_path)) == []
    assert held_up(tmp_path, 0.15) == []


def busy(tmp: Path, *seeds: str) -> None:
    """Wait until these applications have logged something."""
    for seed in seeds:
        book = tmp / f"ledger-{seed}.jsonl"
        while not book.exists() or book.stat().st_size < 2000:
            time.sleep(0.05)


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_a_server_that_is_away_for_ten_minutes(tmp_path: Path) -> None:
    """Two applications, one of which forks, log through ten minutes without a server; afterwards everything is there."""
    new, stop = releases.newest(), tmp_path / "stop"
    folder, python = tmp_path / "server", releases.environment(new).python
    folder.mkdir()
    with releases.serving(new, folder) as url, proxied(url) as proxy:
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        words = ("--nap", "0.1", "--until", str(stop), "--artifacts", "51", "--fork", "52")
        app = begin(python, tmp_path, uri, "51,52", 1200, *words)
        try:
            busy(tmp_path, "51", "52")
            proxy.mode = "refuse"
            time.sleep(600)
            assert app.poll() is None, (tmp_path / "log").read_text()
            before = proxy.requests["pass"]
            proxy.mode = "pass"
            # It is noticed within the breaker's longest pause.
            time.sleep(LONGEST_PAUSE + 5)
            assert proxy.requests["pass"] > before
        finally:
            stop.touch()
        ended(app, tmp_path)
        ship(python, tmp_path, uri)
    entries = ledger(tmp_path)
    assert len(entries) > 5000
    assert compare(folder / "mlflow.db", entries, artifacts=folder / "artifacts") == []
    assert held_up(tmp_path, 0.15) == []
    # An outage is said once a minute at most, not with every call.
    assert (tmp_path / "log").read_text().count("does not answer") < 60
