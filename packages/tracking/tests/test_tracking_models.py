"""Models, artifacts, traces and the registry through the plugin, with a server and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from faulty_proxy import proxied
from served import Served
from tracking_support import run, ship, status, variables

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
version = mlflow.register_model(info.model_uri, "named")
out["version"] = str(version.version)
assert MlflowClient().get_model_version("named", version.version).name == "named"
try:
    MlflowClient().set_registered_model_alias("named", "champion", version.version)
    out["alias"] = "done"
except mlflow.MlflowException as problem:
    out["alias"] = problem.error_code
mlflow.sklearn.autolog(log_models=False)
from sklearn.linear_model import Ridge
with mlflow.start_run(run_name="autologged"):
    Ridge(alpha=0.25).fit([[0.0], [1.0], [2.0], [3.0]], [0.0, 1.0, 2.0, 3.5])
from liftlock_tracking import job_run, log_safely, stage_run
with job_run("job-17", channel="general"):
    with stage_run("retrieve"):
        assert log_safely("log_metric", "score", 0.9) is None
    assert log_safely("no_such_function") is None
try:
    with job_run("job-18"), stage_run("answer"):
        raise KeyError("the job's own")
except KeyError as problem:
    assert problem.args == ("the job's own",)
json.dump(out, open(sys.argv[1], "w"))
"""

# A plain client finds the run, its artifacts, the trace and the model, and the model says truly where it comes from.
FIND = """
import mlflow, sys, pathlib
run, model, trace = sys.argv[1:]
client = mlflow.MlflowClient()
if trace:
    found = client.get_trace(trace)
    assert sorted(s.name for s in found.data.spans) == ['inner', 'outer'], found
assert "deep/d.json" in [f.path for f in client.list_artifacts(run, "deep")]
place = f"models:/{model}" if model else f"runs:/{run}/model"
mlflow.pyfunc.load_model(place)
mlflow.pyfunc.load_model("models:/named/1")
text = pathlib.Path(mlflow.artifacts.download_artifacts(place), "MLmodel").read_text()
assert f"run_id: {run}" in text, text
"""


@pytest.mark.parametrize("mode", [pytest.param("pass", marks=pytest.mark.soak), "refuse"])
def test_models_artifacts_traces_and_registry(served: Served, mode: str, tmp_path: Path) -> None:
    with proxied(served.url) as proxy:
        proxy.mode = mode
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        env = variables(tmp_path, uri, LIFTLOCK_TRACKING_REGISTRY="later")
        made = run(served.python, ["-c", MODELS, str(tmp_path / "out.json")], env, tmp_path)
        assert made.returncode == 0, made.stdout + made.stderr
        out = json.loads((tmp_path / "out.json").read_text())
        there = ("1", "done") if mode == "pass" else ("0", "TEMPORARILY_UNAVAILABLE")
        assert (out["version"], out["alias"]) == there
        proxy.mode = "pass"
        ship(served.python, tmp_path, uri)
        facts = status(served.python, tmp_path, uri)
    assert facts["refused_calls"] == [] and facts["waiting_calls"] == 0 and facts["artifact_bytes"] == 0
    pairs = {p["provisional"]: p["server"] for p in facts["ids"]}
    ((run_id,),) = served.rows("SELECT run_uuid FROM runs WHERE name = 'modelled'")
    model = ""
    if served.has("logged_models"):
        ((model, source, state),) = served.rows("SELECT model_id, source_run_id, status FROM logged_models")
        assert (source, state) == (run_id, 2)
        assert served.rows(f"SELECT count(*) FROM inputs WHERE destination_id = '{model}'") == [(1,)]
    else:
        ((history,),) = served.rows("SELECT value FROM tags WHERE key = 'mlflow.log-model.history'")
        assert len(json.loads(str(history))) == 1 and str(run_id) in str(history)
    ((version, source, owner),) = served.rows("SELECT version, source, run_id FROM model_versions WHERE name = 'named'")
    assert version == 1 and owner == run_id and "liftlock" not in str(source)
    _autologged(served)
    _jobs(served)
    trace = ""
    if out.get("trace"):
        ((trace,),) = served.rows("SELECT request_id FROM trace_info")
        # Releases whose server makes a trace's id when it begins were given one of ours.
        assert trace == pairs.get(out["trace"], out["trace"])
    found = run(
        served.python, ["-c", FIND, str(run_id), str(model), str(trace)], variables(tmp_path, served.url), tmp_path
    )
    assert found.returncode == 0, found.stderr


def _autologged(served: Served) -> None:
    """What scikit-learn's autologging logs lies on the server: it goes through the same calls."""
    ((run, status),) = served.rows("SELECT run_uuid, status FROM runs WHERE name = 'autologged'")
    params = dict(served.rows(f"SELECT key, value FROM params WHERE run_uuid = '{run}'"))
    metrics = {key for (key,) in served.rows(f"SELECT key FROM metrics WHERE run_uuid = '{run}'")}
    assert status == "FINISHED" and params["alpha"] == "0.25" and "training_r2_score" in metrics
    assert served.rows(f"SELECT value FROM tags WHERE run_uuid = '{run}' AND key = 'estimator_name'") == [("Ridge",)]


def _jobs(served: Served) -> None:
    """The job pattern: a run for a job, nested runs for its stages, each with its latency; the body's error passes."""
    runs = {str(name): (str(run), state) for name, run, state in served.rows("SELECT name, run_uuid, status FROM runs")}
    tags = {(str(run), key): value for run, key, value in served.rows("SELECT run_uuid, key, value FROM tags")}
    for job, stage, want in (("job-17", "retrieve", "FINISHED"), ("job-18", "answer", "FAILED")):
        (whole, ended), (part, part_ended) = runs[job], runs[stage]
        assert (ended, part_ended) == (want, want)
        assert tags[(whole, "job_id")] == job and tags[(part, "stage")] == stage
        assert tags[(part, "mlflow.parentRunId")] == whole
        assert served.rows(f"SELECT count(*) FROM metrics WHERE key = 'latency_seconds' AND run_uuid = '{part}'") == [
            (1,)
        ]
    assert tags[(runs["job-17"][0], "channel")] == "general" and tags[(runs["job-17"][0], "status")] == "completed"
    assert tags[(runs["answer"][0], "error")] == """KeyError: "the job's own\""""
