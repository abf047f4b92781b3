"""What a real client of a release reads through its own API equals what the export says, number by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liftlock.export.write import export
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.proc import run
from liftlock.stores.opening import open_store
from tests.support import releases

# Runs inside the release's environment: makes data, then prints what the client reads back.
CLIENT = """
import json, math, sys, time
import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

client = MlflowClient(sys.argv[1], sys.argv[1])
experiment = client.create_experiment("Zürich\\n'quoted'", tags={"team": "a"})
for number in range(7):
    made = client.create_run(experiment, run_name=f"run {number}")
    client.log_batch(
        made.info.run_id,
        metrics=[Metric("loss", 1 / (step + 1) + number, 1000 + step, step) for step in range(50)]
        + [Metric("nan", math.nan, 1, 0), Metric("inf", math.inf, 1, 0), Metric("-inf", -math.inf, 1, 0)],
        params=[Param("lr", str(number / 3)), Param("empty", "")],
        tags=[RunTag("note", "ü" * 200)],
    )
    client.set_terminated(made.info.run_id)
client.delete_run(made.info.run_id)
client.create_registered_model("model", tags={"a": "b"}, description="d")
for source in ("s3://bucket/one", "s3://bucket/two"):
    client.create_model_version("model", source, made.info.run_id, tags={"v": source})
client.set_registered_model_alias("model", "champion", 2)

def name(value):
    return value if math.isfinite(value) else "NaN" if math.isnan(value) else ("" if value > 0 else "-") + "Infinity"

runs = {}
for run in client.search_runs([experiment], run_view_type=3):
    runs[run.info.run_id] = {
        "name": run.info.run_name, "status": run.info.status, "start": run.info.start_time, "end": run.info.end_time,
        "params": run.data.params, "tags": run.data.tags, "stage": run.info.lifecycle_stage,
        "latest": {key: name(value) for key, value in run.data.metrics.items()},
        "history": {
            key: sorted([point.step, point.timestamp, name(point.value)]
                        for point in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        },
    }
versions = {
    str(v.version): {"source": v.source, "run_id": v.run_id, "tags": v.tags}
    for v in (client.get_model_version("model", str(n)) for n in (1, 2))
}
found = client.get_experiment(experiment)
print(json.dumps({
    "runs": runs, "versions": versions, "alias": client.get_model_version_by_alias("model", "champion").version,
    "experiment": {"name": found.name, "tags": {"team": found.tags["team"]}},
}))
"""


def lines(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.release
@pytest.mark.parametrize("version", ["2.9.2", "newest"])
def test_the_files_say_what_the_client_reads(version: str, tmp_path: Path) -> None:
    release = releases.newest() if version == "newest" else version
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = run([releases.environment(release).python, "-c", CLIENT, uri], timeout=300, cwd=tmp_path)
    read = json.loads(done.stdout.strip().splitlines()[-1])
    store = open_store(StoreUri.parse(uri), Role.TRACKING)
    report = export({Role.TRACKING: store}, tmp_path / "out", release=release)

    history: dict[str, dict[str, list[list[Any]]]] = {}
    for point in lines(tmp_path / "out", "metrics"):
        by_key = history.setdefault(point["run_id"], {})
        by_key.setdefault(point["key"], []).append([point["step"], point["timestamp"], point["value"]])
    exported = {
        line["run_id"]: {
            "name": line["run_name"],
            "status": line["status"],
            "start": line["start_time"],
            "end": line["end_time"],
            "params": line["params"],
            "tags": line["tags"],
            "stage": line["lifecycle_stage"],
            "latest": {key: metric["value"] for key, metric in line["latest_metrics"].items()},
            "history": {key: sorted(points) for key, points in history[line["run_id"]].items()},
        }
        for line in lines(tmp_path / "out", "runs")
    }
    assert exported == read["runs"]
    assert len(exported) == 7
    versions = {
        str(line["version"]): {"source": line["source"], "run_id": line["run_id"], "tags": line["tags"]}
        for line in lines(tmp_path / "out", "model_versions")
    }
    assert versions == read["versions"]
    (alias,) = lines(tmp_path / "out", "aliases")
    assert (alias["alias"], alias["name"], str(alias["version"])) == ("champion", "model", str(read["alias"]))
    named = {line["name"]: line for line in lines(tmp_path / "out", "experiments")}
    assert named[read["experiment"]["name"]]["tags"]["team"] == "a"
    tables = report.sources[0].tables
    for table in ("experiments", "runs", "metrics", "params", "tags", "latest_metrics", "model_versions"):
        assert tables[table].rows == tables[table].exported, table


TRACE = """
import json, sys
import mlflow
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("traces")
with mlflow.start_span("outer", attributes={"deep": "ü"}) as outer:
    outer.set_inputs({"question": "q"})
    with mlflow.start_span("inner") as inner:
        inner.set_outputs({"answer": 1.5})
trace = outer.trace_id
mlflow.flush_trace_async_logging()
mlflow.set_trace_tag(trace, "team", "a")
mlflow.log_feedback(trace_id=trace, name="good", value=True, rationale="because")
found = mlflow.get_trace(trace)
print(json.dumps({
    "id": trace, "state": str(found.info.state.value), "spans": sorted(span.name for span in found.data.spans),
    "at": found.info.timestamp_ms, "tag": found.info.tags["team"],
    "feedback": [[one.name, one.rationale] for one in found.info.assessments],
}))
"""


@pytest.mark.release
def test_traces_come_with_spans_and_assessments(tmp_path: Path) -> None:
    release = releases.newest()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = run([releases.environment(release).python, "-c", TRACE, uri], timeout=300, cwd=tmp_path)
    read = json.loads(done.stdout.strip().splitlines()[-1])
    export({Role.TRACKING: open_store(StoreUri.parse(uri), Role.TRACKING)}, tmp_path / "out", release=release)
    (trace,) = lines(tmp_path / "out", "traces")
    assert (trace["trace_id"], trace["status"], trace["timestamp_ms"]) == (read["id"], read["state"], read["at"])
    assert trace["tags"]["team"] == read["tag"] == "a"
    assert sorted(span["name"] for span in trace["spans"]) == read["spans"] == ["inner", "outer"]
    assert (
        [[one["name"], one["rationale"]] for one in trace["assessments"]] == read["feedback"] == [["good", "because"]]
    )
    assert trace["assessments"][0]["valid"] is True
