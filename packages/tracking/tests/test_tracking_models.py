"""Models, artifacts, traces and the registry through the plugin, with a server and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Served
from faulty_proxy import proxied
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
try:
    MlflowClient().create_registered_model("named")
    out["registry"] = "done"
except mlflow.MlflowException as problem:
    out["registry"] = problem.error_code
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
text = pathlib.Path(mlflow.artifacts.download_artifacts(place), "MLmodel").read_text()
assert f"run_id: {run}" in text, text
"""


@pytest.mark.parametrize("mode", [pytest.param("pass", marks=pytest.mark.soak), "refuse"])
def test_models_artifacts_traces_and_registry(served: Served, mode: str, tmp_path: Path) -> None:
    with proxied(served.url) as proxy:
        proxy.mode = mode
        uri = f"liftlock+http://127.0.0.1:{proxy.port}"
        made = run(served.python, ["-c", MODELS, str(tmp_path / "out.json")], variables(tmp_path, uri), tmp_path)
        assert made.returncode == 0, made.stdout + made.stderr
        out = json.loads((tmp_path / "out.json").read_text())
        assert out["registry"] == ("done" if mode == "pass" else "TEMPORARILY_UNAVAILABLE")
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
    trace = ""
    if out.get("trace"):
        ((trace,),) = served.rows("SELECT request_id FROM trace_info")
        # Releases whose server makes a trace's id when it begins were given one of ours.
        assert trace == pairs.get(out["trace"], out["trace"])
    found = run(
        served.python, ["-c", FIND, str(run_id), str(model), str(trace)], variables(tmp_path, served.url), tmp_path
    )
    assert found.returncode == 0, found.stderr
