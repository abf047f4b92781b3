"""The server itself dies, restarts and is upgraded under running applications; models, traces and reads meanwhile."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from tests.support import releases
from tracking_support import WORKER, command, compare, ledger, proxied, run, variables

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("tracking-servers")]


def test_killed_then_upgraded_under_two_applications(tmp_path: Path) -> None:
    """2.9.2 is killed with -9, restarted, stopped, its database migrated, and the newest release serves it."""
    old, new = releases.OLD, releases.newest()
    folder = tmp_path / "server"
    folder.mkdir()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(releases.serving(old, folder))
        proxy = stack.enter_context(proxied(url))
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        apps = []
        # Clients of both releases: the newest one is not served by 2.9.2 in everything, in tracking it is.
        for seed, version in ((31, old), (32, new)):
            python = releases.environment(version).python
            words = [str(python), str(WORKER), str(tmp_path / f"ledger-{seed}.jsonl"), str(seed), "38", "--nap", "0.03"]
            log = (tmp_path / f"log-{seed}").open("wb")
            apps.append(
                subprocess.Popen(
                    words, env=variables(tmp_path, uri), cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
                )
            )
        time.sleep(4)
        _kill(folder)
        proxy.drop()
        with releases.serving(old, folder) as again:
            proxy.target = int(again.rsplit(":", 1)[1])
            time.sleep(2)
        proxy.drop()
        database = f"sqlite:///{folder / 'mlflow.db'}"
        migrated = run(
            releases.environment(new).python,
            ["-m", "mlflow", "db", "upgrade", database],
            variables(tmp_path, None),
            folder,
        )
        assert migrated.returncode == 0, migrated.stderr
        url = stack.enter_context(releases.serving(new, folder))
        proxy.target = int(url.rsplit(":", 1)[1])
        assert [app.wait(90) for app in apps] == [0, 0], [p.read_text()[-2000:] for p in tmp_path.glob("log-*")]
        shipped = command(releases.environment(new).python, ["ship"], variables(tmp_path, uri), tmp_path)
        assert shipped.returncode == 0, shipped.stdout + shipped.stderr
    assert compare(folder / "mlflow.db", ledger(tmp_path)) == []
    for path in tmp_path.glob("report-*.json"):
        report = json.loads(path.read_text())
        assert report["failed"] == 0, report
        assert report["slowest"][0][0] < 0.15 and report["slowest"][-1][0] < 0.5, report


def _kill(folder: Path) -> None:
    """SIGKILL every process of the server whose working directory this is."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/cwd") == str(folder):
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                continue


MODELS = """
import json, sys, time, mlflow
from mlflow import MlflowClient
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
out = {}
with mlflow.start_run(run_name="modelled") as run:
    began = time.time()
    info = mlflow.pyfunc.log_model("model", python_model=Model(), pip_requirements=[])
    out["log_model"] = time.time() - began
    mlflow.log_dict({"a": 1}, "deep/d.json")
out["run"] = run.info.run_id
out["model"] = getattr(info, "model_id", None)
if hasattr(mlflow, "start_span"):
    began = time.time()
    with mlflow.start_span(name="outer") as span:
        span.set_inputs({"q": 1})
        with mlflow.start_span(name="inner") as inner:
            inner.set_outputs({"a": 2})
    out["trace"] = getattr(span, "trace_id", None) or span.request_id
    out["span"] = time.time() - began
    if hasattr(mlflow, "flush_trace_async_logging"):
        try:
            mlflow.flush_trace_async_logging(terminate=True)
        except Exception as problem:
            out["flush"] = repr(problem)
try:
    MlflowClient().create_registered_model("named")
    out["registry"] = "done"
except mlflow.MlflowException as problem:
    out["registry"] = problem.error_code
json.dump(out, open(sys.argv[1], "w"))
"""


BETWEEN = [pytest.param(version, marks=pytest.mark.soak) for version in ("2.14.3", "2.22.5", "3.4.0")]


@pytest.mark.parametrize("which", [releases.OLD, *BETWEEN, "newest"])
@pytest.mark.parametrize("mode", [pytest.param("pass", marks=pytest.mark.soak), "refuse"])
def test_models_artifacts_traces_and_registry(which: str, mode: str, tmp_path: Path) -> None:
    version = releases.newest() if which == "newest" else which
    python = releases.environment(version).python
    folder = tmp_path / "server"
    folder.mkdir()
    with releases.serving(version, folder) as url, proxied(url) as proxy:
        proxy.mode = mode
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        env = variables(tmp_path, uri)
        done = run(python, ["-c", MODELS, str(tmp_path / "out.json")], env, tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        out = json.loads((tmp_path / "out.json").read_text())
        assert out["registry"] == ("done" if mode == "pass" else "TEMPORARILY_UNAVAILABLE")
        proxy.mode = "pass"
        shipped = command(python, ["ship"], env, tmp_path)
        assert shipped.returncode == 0, shipped.stdout + shipped.stderr
        state = json.loads(command(python, ["status", "--json"], env, tmp_path).stdout)["spools"][0]
        assert state["refused_calls"] == [] and state["waiting_calls"] == 0
        assert state["artifact_bytes"] == 0
        trace = ""
        with closing(sqlite3.connect(f"file:{folder / 'mlflow.db'}?mode=ro", uri=True)) as db:
            ((run_id,),) = db.execute("SELECT run_uuid FROM runs WHERE name = 'modelled'").fetchall()
            history = db.execute("SELECT value FROM tags WHERE key = 'mlflow.log-model.history'").fetchall()
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if "logged_models" in tables:
                models = db.execute("SELECT model_id, source_run_id, status FROM logged_models").fetchall()
                assert [(r, s) for _, r, s in models] == [(run_id, 2)], models
                assert db.execute(
                    "SELECT count(*) FROM inputs WHERE destination_id = ?", (models[0][0],)
                ).fetchone() == (1,)
            else:
                assert len(json.loads(history[0][0])) == 1 and run_id in history[0][0]
            if "trace_info" in tables and out.get("trace"):
                ((trace,),) = db.execute("SELECT request_id FROM trace_info").fetchall()
                # Releases whose server makes a trace's id when it begins were given one of ours.
                ids = json.loads(command(python, ["status", "--json", "--ids"], env, tmp_path).stdout)["spools"][0][
                    "ids"
                ]
                assert trace == {p["provisional"]: p["server"] for p in ids}.get(out["trace"], out["trace"])
                if not version.startswith("3."):
                    # 2.14 to 2.22 with today's opentelemetry never end a trace, with or without the plugin.
                    trace = ""
        # A plain client finds the run, its artifacts and the model, and the model says truly where it comes from.
        code = (
            "import mlflow, sys, pathlib\n"
            "run, model, trace = sys.argv[1:]\n"
            "if trace:\n"
            "    found = mlflow.MlflowClient().get_trace(trace)\n"
            "    assert sorted(s.name for s in found.data.spans) == ['inner', 'outer'], found\n"
            "print(sorted(f.path for f in mlflow.MlflowClient().list_artifacts(run, 'deep')))\n"
            "place = f'models:/{model}' if model else f'runs:/{run}/model'\n"
            "mlflow.pyfunc.load_model(place)\n"
            "text = pathlib.Path(mlflow.artifacts.download_artifacts(place), 'MLmodel').read_text()\n"
            "assert f'run_id: {run}' in text, text\n"
        )
        model = models[0][0] if "logged_models" in tables else ""
        plain = run(python, ["-c", code, run_id, model, trace], variables(tmp_path, url), tmp_path)
        assert plain.returncode == 0, plain.stderr
        assert "deep/d.json" in plain.stdout
