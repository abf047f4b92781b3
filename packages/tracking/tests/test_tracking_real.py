"""Random histories of real applications on real servers behind every kind of trouble; an independent ledger decides."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

from faulty_proxy import Troubles, proxied
from ledgers import compare, ledger
from served import Served
from tracking_support import begin, ended, held_up, run, ship, status, variables

TROUBLES = ["pass", "503", "pass", "hang", "pass", "cut", "pass", "cut-after", "pass", "refuse"]
BOUND = 0.05
# What the machine itself may add to a call: two cores shared with the server and other tests.
SCHEDULING = 0.10
SHORT = {"LIFTLOCK_TRACKING_REQUEST_TIMEOUT": "1"}


def test_troubles_lose_nothing_double_nothing_and_hold_nobody_up(served: Served, tmp_path: Path) -> None:
    with proxied(served.url) as proxy:
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        stop = tmp_path / "stop"
        app = begin(
            served.python, tmp_path, uri, "1,2", 60, "--artifacts", "1", "--fork", "2",
            "--nap", "0.02", "--until", str(stop), **SHORT,
        )  # fmt: skip
        with Troubles(proxy, TROUBLES, 0.3) as troubles:
            assert troubles.rounds(1, 50), proxy.requests
            stop.touch()
        ended(app, tmp_path)
        assert {"503", "hang", "cut", "cut-after"} <= set(proxy.requests), proxy.requests
        ship(served.python, tmp_path, uri)
    entries = ledger(tmp_path)
    assert len(entries) > 500
    assert compare(served.database, entries, artifacts=served.folder / "artifacts") == []
    assert held_up(tmp_path, BOUND + SCHEDULING) == []


def test_kill_9_loses_nothing_that_was_told_done(served: Served, tmp_path: Path) -> None:
    rng = random.Random(7)
    with proxied(served.url) as proxy:
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        with Troubles(proxy, ["pass", "pass", "cut-after", "refuse"], 0.5):
            app = begin(served.python, tmp_path, uri, "11,12,13", 60, "--artifacts", "12", "--nap", "0.01", **SHORT)
            for seed in (11, 12, 13):
                book = tmp_path / f"ledger-{seed}.jsonl"
                while not book.exists() or book.stat().st_size < 2000:
                    assert app.poll() is None, (tmp_path / "log").read_text()
                    time.sleep(0.02)
                time.sleep(rng.uniform(0.1, 1.0))
                os.kill(int((tmp_path / f"pid-{seed}").read_text()), signal.SIGKILL)
            app.wait(30)
        ship(served.python, tmp_path, uri)
    assert compare(served.database, ledger(tmp_path), artifacts=served.folder / "artifacts") == []


def test_an_application_that_starts_without_server_is_whole_afterwards(served: Served, tmp_path: Path) -> None:
    with proxied(served.url) as proxy:
        proxy.mode = "refuse"
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        ended(begin(served.python, tmp_path, uri, "21", 1.5, "--artifacts", "21"), tmp_path)
        assert held_up(tmp_path, BOUND + SCHEDULING) == []
        proxy.mode = "pass"
        ship(served.python, tmp_path, uri)
        assert compare(served.database, ledger(tmp_path), artifacts=served.folder / "artifacts") == []
        pairs = {
            p["provisional"]: p["server"] for p in status(served.python, tmp_path, uri)["ids"] if p["kind"] == "run"
        }
        assert pairs and all(pairs.values())
        # Both ids find the run: through the plugin either, on any client the tag it carries.
        code = (
            "import mlflow, sys\n"
            "print(mlflow.MlflowClient().get_run(sys.argv[1]).info.run_id)\n"
            "plain = mlflow.MlflowClient(sys.argv[2])\n"
            "tag = f\"tags.`liftlock.spool_id` = '{sys.argv[1]}'\"\n"
            "print(*[r.info.run_id for r in plain.search_runs(['0'], filter_string=tag)])\n"
        )
        provisional, real = next(iter(pairs.items()))
        done = run(served.python, ["-c", code, provisional, served.url], variables(tmp_path, uri), tmp_path)
        assert done.stdout.split() == [real, real], done.stdout + done.stderr
