"""A real MLflow behind the gate, used by its own client while writes are held and moved to a second server."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from liftlock.app import gate as gates
from liftlock.gate.client import GateClient, holding
from liftlock.gate.clients import report
from liftlock.gate.model import Address, GateError
from liftlock.releases.children import clean_environment
from liftlock.releases.tools import PopulateSize
from tests.support import upgrades
from tests.support.gate import running, until
from tests.support.releases import OLD, environment, newest, serving
from tests.support.tracing import needs_tracing

LITTLE = PopulateSize(experiments=1, runs=1, points=1, params=1, tags=1, artifacts=0, models=0, versions=0, traces=0)

_CLIENT = """
import sys, pathlib, mlflow
mlflow.set_tracking_uri(sys.argv[1])
client = mlflow.MlflowClient()
work = pathlib.Path(sys.argv[2])
experiment = client.create_experiment("behind the gate")
(work / "big.bin").write_bytes(b"z" * (3 << 20))
runs = 0
while not (work / "enough").exists():
    run = client.create_run(experiment)
    client.log_param(run.info.run_id, "number", runs)
    for step in range(5):
        client.log_metric(run.info.run_id, "m", step, step=step)
    if runs == 0:
        client.log_artifact(run.info.run_id, str(work / "big.bin"))
    client.set_terminated(run.info.run_id)
    assert client.get_run(run.info.run_id).data.params == {"number": str(runs)}
    runs += 1
    (work / "runs").write_text(str(runs))
found = client.search_runs([experiment], max_results=5000)
first = min(found, key=lambda run: int(run.data.params["number"]))
path = client.download_artifacts(first.info.run_id, "big.bin", str(work))
assert pathlib.Path(path).read_bytes() == b"z" * (3 << 20)
assert sorted(int(run.data.params["number"]) for run in found) == list(range(runs)), "lost or doubled"
assert all(len(client.get_metric_history(run.info.run_id, "m")) == 5 for run in found)
print(runs, flush=True)
"""


@contextlib.contextmanager
def used(url: str, release: str, place: Path) -> Iterator[None]:
    """A real client that works all the while, before and after too, and checks in the end what it did."""

    def runs() -> int:
        done = place / "runs"
        return int(done.read_text() or 0) if done.exists() else 0

    client = subprocess.Popen(
        [environment(release).python, "-c", _CLIENT, url, str(place)],
        env=clean_environment({"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        until(lambda: client.poll() is not None or runs() >= 3, seconds=60)
        yield
        before = runs()
        until(lambda: client.poll() is not None or runs() >= before + 3, seconds=60)
        (place / "enough").touch()
        out, err = client.communicate(timeout=60)
        assert client.returncode == 0, err[-3000:]
        assert int(out.split()[-1]) >= before + 3
    finally:
        client.kill()
        client.wait()


@needs_tracing
@pytest.mark.release
@pytest.mark.parametrize("release", [OLD, pytest.param("newest", marks=pytest.mark.soak)])
def test_a_real_client_that_never_tries_again_does_not_notice_that_the_port_is_taken_over(
    release: str, tmp_path: Path
) -> None:
    release = newest() if release == "newest" else release
    (tmp_path / "site").mkdir()
    with upgrades.deployment(release, tmp_path / "site", server=None, auth=False, size=LITTLE) as made:
        before = made.workspace.server()
        assert before is not None
        gate = made.workspace.state / "gate"
        try:
            with used(made.url, release, tmp_path):
                reply = gates.install(made.workspace, take_over=True)
            assert made.workspace.server() != before
            assert reply.listen == made.url.removeprefix("http://")
            uses = report(gate / "access.log")
            assert [use.failed for use in uses if use.kind == "mlflow-python-client"] == [0]
            gates.remove(made.workspace)
            assert urllib3.request("GET", f"{made.url}/health").status == 200
        finally:
            with GateClient(gate / "control.sock") as control, contextlib.suppress(GateError):
                os.kill(control.status().pid, signal.SIGKILL)


@pytest.mark.release
def test_a_real_client_does_not_notice_a_hold_and_a_switch(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    store = f"sqlite:///{old / 'mlflow.db'}"  # both servers on one database: a switch that loses nothing
    with (
        serving(OLD, old, store=store) as first,
        serving(OLD, new, store=store, arguments=("--artifacts-destination", str(old / "artifacts"))) as second,
        running(tmp_path, Address.parse(first)) as gate,
    ):
        with (
            used(f"http://127.0.0.1:{gate.port}", OLD, tmp_path),
            gate.client() as control,
            holding(gate.settings.socket, control.status().state.generation, holder="t") as it,
        ):
            control.drain(it.generation, limit=10)
            time.sleep(1)
            control.switch(it.generation, Address.parse(second))
        time.sleep(0.7)
        uses = report(gate.settings.log)
        assert [(use.kind, use.version, use.failed) for use in uses] == [("mlflow-python-client", OLD, 0)]
