"""`liftlock watch` on a whole deployment: a real gate, servers that get slow or refuse, and what is done about it."""

from __future__ import annotations

import concurrent.futures
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from liftlock.app.workspace import Workspace
from liftlock.evidence import account
from tests.support.deployment import Deployment
from tests.support.receivers import hook
from tests.support.stub_release import NEW, OLD

_SEARCHES = ("experiments/search", "registered-models/search")
_QUICK = "[watch]\nsettle = 0.0\nbreaches = 2\n"


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    made = Deployment(tmp_path / "d")
    try:
        yield made
    finally:
        made.end()


def use(deployment: Deployment, times: int = 300) -> None:
    """Requests as people send them, through whatever stands at the public address."""
    pool = urllib3.PoolManager(retries=False, timeout=30, maxsize=8)

    def ask(number: int) -> int:
        path = _SEARCHES[number % 3 == 0]
        body = json.dumps({"max_results": 5})
        verb = "GET" if "models" in path else "POST"
        url = f"{deployment.url}/api/2.0/mlflow/{path}"
        return pool.request(verb, url, body=None if verb == "GET" else body).status

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        assert set(threads.map(ask, range(times))) == {200}


def outcomes(said: str) -> dict[str, tuple[str, str]]:
    found: dict[str, Any] = json.loads(said)
    return {each["code"]: (each["outcome"], each["severity"]) for each in found["findings"]}


def test_a_slow_release_is_told_and_taken_back(deployment: Deployment) -> None:
    """Behind a gate: the baseline is noted by itself, the slow release is a breach, and nothing written is lost."""
    deployment.server_environment = {"STUB_SERVER": f"{NEW}:slow-40"}
    deployment.make()
    with hook() as receiver:
        with deployment.config.open("a") as file:
            file.write(f'{_QUICK}[[notify.receivers]]\nkind = "webhook"\nurl = "{receiver.url()}"\n')
        deployment.ok("gate", "install", "--yes")
        use(deployment, 600)
        deployment.ok("upgrade", "--to", NEW, "--strategy", "online", "--yes")
        assert deployment.liftlock("watch", "--json").returncode == 1
        use(deployment)
        seen = deployment.liftlock("watch", "--json")
        assert seen.returncode == 1
        assert outcomes(seen.stdout)["LLW002"] == outcomes(seen.stdout)["LLW003"] == ("fail", "error"), seen.stdout
        assert outcomes(seen.stdout)["LLW001"][0] == outcomes(seen.stdout)["LLW005"][0] == "pass", seen.stdout
        assert deployment.version() == NEW, "one look alone is not a breach"
        done = deployment.liftlock("watch", "--for", "20s", "--every", "0.5s", "--roll-back", "--json")
        assert done.returncode == 4, done.stdout + done.stderr
        assert deployment.version() == OLD
    found = json.loads(done.stdout)
    journal = Workspace.open(deployment.config).journal
    upgrade = next(each for each in journal.runs() if each.kind == "upgrade")
    assert (found["run"], upgrade.outcome) == (upgrade.id, "rolled-back")
    noted = account.watched(journal.entries(upgrade.id))
    assert noted is not None and noted.breached and noted.rolled_back == found["rolled_back"] == journal.runs()[-1].id
    journal.verify()
    told = [each["event"] for each in receiver.bodies()]
    assert told == ["started", "cut-over", "breach", "rolled-back"]
    assert "p95" in receiver.bodies()[2]["text"]


def test_without_a_gate_it_asks_by_itself_and_leaves_no_write_behind(deployment: Deployment) -> None:
    deployment.server_environment = {"STUB_SERVER": f"{NEW}:slow-60"}
    deployment.make()
    with deployment.config.open("a") as file:
        file.write(_QUICK)
    refused = deployment.liftlock("watch")
    assert refused.returncode == 3 and "watch --baseline" in refused.stderr
    deployment.ok("watch", "--baseline", "--for", "1.5s")
    deployment.ok("upgrade", "--to", NEW, "--yes")
    client = urllib3.PoolManager()
    body = json.dumps({"method": "log", "args": ["r1", "tags", [["since", "v"]]]})
    assert client.request("POST", f"{deployment.url}/stub", body=body).status == 200
    watched = ("watch", "--for", "8s", "--every", "1s", "--roll-back")
    held = deployment.liftlock(*watched)
    assert held.returncode == 5 and "1 tables" in held.stderr and deployment.version() == NEW, held.stdout + held.stderr
    assert "p50" in held.stderr and "--roll-back=always" in held.stderr
    again = deployment.liftlock(*watched[:-1])
    assert again.returncode == 1 and "breached; the way back: liftlock rollback" in again.stdout
