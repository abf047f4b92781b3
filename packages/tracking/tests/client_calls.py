"""Every kind of call an application makes through `mlflow`, one after the other, with what each answered.

Run by a release's own interpreter, once with the plain client and once with the plugin: the answers must be the same.
Ids are numbered as they appear and times are left out.

    python client_calls.py OUT NAME
"""

import json
import pathlib
import re
import sys

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

out, name = sys.argv[1:]
client = MlflowClient()
answers = []
ids = {}


def step(title, call):
    try:
        answer = call()
    except MlflowException as problem:
        # The words may be the client's or the server's.
        answer = ["MlflowException", problem.error_code]
    except Exception as problem:
        answer = [type(problem).__name__]
    answers.append((title, answer))
    return answer


def run_of(run):
    return {
        "info": {k: getattr(run.info, k) for k in ("run_id", "status", "lifecycle_stage", "run_name", "experiment_id")},
        "ended": run.info.end_time is not None,
        "params": dict(sorted(run.data.params.items())),
        "metrics": {k: str(v) for k, v in sorted(run.data.metrics.items()) if not k.startswith("system/")},
        "tags": {
            k: v
            for k, v in sorted(run.data.tags.items())
            if not k.startswith(("liftlock.", "mlflow.source", "mlflow.log-model"))
        },
    }


def history(run, key):
    return [(m.key, str(m.value), m.step, m.timestamp) for m in client.get_metric_history(run, key)]


def version_of(version):
    tags = {k: v for k, v in version.tags.items() if not k.startswith("liftlock.")}
    return [version.name, str(version.version), version.current_stage, version.description, tags, version.run_id]


# --- experiments
experiment = client.create_experiment(name, tags={"a": "b"})
step("an experiment again", lambda: client.create_experiment(name))
step("an experiment without a name", lambda: client.create_experiment(""))
step("an experiment by name", lambda: client.get_experiment_by_name(name).tags)
step(
    "an experiment by id",
    lambda: [client.get_experiment(experiment).name, client.get_experiment(experiment).lifecycle_stage],
)
step("an experiment nobody made, by name", lambda: client.get_experiment_by_name("nobody made this"))
step("an experiment nobody made, by id", lambda: client.get_experiment("987654"))
step("tag an experiment", lambda: client.set_experiment_tag(experiment, "c", "d"))
step("the tag is there", lambda: client.get_experiment(experiment).tags)
step("rename an experiment", lambda: client.rename_experiment(experiment, name + "-renamed"))
step("the name is there", lambda: client.get_experiment(experiment).name)
step("delete an experiment", lambda: client.delete_experiment(experiment))
step("it is deleted", lambda: client.get_experiment(experiment).lifecycle_stage)
step("restore an experiment", lambda: client.restore_experiment(experiment))
step("search experiments", lambda: [e.name for e in client.search_experiments(filter_string=f"name LIKE '{name}%'")])

# --- runs
run = client.create_run(experiment, start_time=1000, tags={"x": "y"}, run_name="one").info.run_id
step("a run without anything", lambda: run_of(client.get_run(run)))
step("a point", lambda: client.log_metric(run, "m", 0.5, timestamp=1, step=1))
step("an older point", lambda: client.log_metric(run, "m", 9.0, timestamp=1, step=0))
step("the same point again", lambda: client.log_metric(run, "m", 0.5, timestamp=1, step=1))
step("infinity", lambda: client.log_metric(run, "inf", float("inf"), timestamp=1, step=0))
step("not a number", lambda: client.log_metric(run, "nan", float("nan"), timestamp=1, step=0))
step("a point that is text", lambda: client.log_metric(run, "m", "much", timestamp=1))
step("a point with a bad name", lambda: client.log_metric(run, "what?!", 1.0, timestamp=1))
step("a parameter", lambda: client.log_param(run, "p", 5))
step("the parameter again", lambda: client.log_param(run, "p", 5))
step("the parameter changed", lambda: client.log_param(run, "p", 6))
step("a parameter with a bad name", lambda: client.log_param(run, "../p", 6))
step("a parameter that is too long", lambda: client.log_param(run, "long", "x" * 7000))
step("a tag", lambda: client.set_tag(run, "t", "1"))
step("the tag changed", lambda: client.set_tag(run, "t", "2"))
step("a tag taken away", lambda: (client.set_tag(run, "gone", "1"), client.delete_tag(run, "gone"))[1])
step("a tag that was never there taken away", lambda: client.delete_tag(run, "never"))
batch = [Metric(f"b{i}", i / 2, 1, i) for i in range(1500 // 2)]
step("a batch", lambda: client.log_batch(run, batch, [Param("q", "1")], [RunTag("u", "1")]))
step("a batch with a bad name", lambda: client.log_batch(run, [Metric("what?!", 1.0, 1, 0)]))
step("a batch that is too large", lambda: client.log_batch(run, [Metric("m", 1.0, i, i) for i in range(1001)]))
step("a batch with a parameter twice", lambda: client.log_batch(run, params=[Param("z", "1"), Param("z", "2")]))
step("the run as it is now", lambda: run_of(client.get_run(run)))
step("the history", lambda: history(run, "m"))
step("a history nobody logged", lambda: history(run, "nothing"))
step(
    "search runs",
    lambda: [r.info.run_id for r in client.search_runs([experiment], "metrics.m > 0.1 and params.p = '5'")],
)
step("search runs in vain", lambda: list(client.search_runs([experiment], "params.p = '7'")))
step("search runs wrongly", lambda: list(client.search_runs([experiment], "params.p === '7'")))
step("rename a run", lambda: client.update_run(run, name="two"))
step("end a run", lambda: client.set_terminated(run, "FAILED", end_time=2000))
step("the run when it ended", lambda: run_of(client.get_run(run)))
step("end a run unlike any", lambda: client.set_terminated(run, "EXPLODED"))
step("delete a run", lambda: client.delete_run(run))
step("it is not found", lambda: list(client.search_runs([experiment])))
step(
    "it is found when asked for",
    lambda: [r.info.run_id for r in client.search_runs([experiment], run_view_type=ViewType.DELETED_ONLY)],
)
step("restore a run", lambda: client.restore_run(run))
step("a run nobody made", lambda: client.get_run("0" * 32))
step("log to a run nobody made", lambda: client.set_tag("0" * 32, "p", "1"))

# --- artifacts
step("log a text", lambda: client.log_text(run, "text", "folder/a.txt"))
step("log a dictionary", lambda: client.log_dict(run, {"a": 1}, "d.json"))
step("log what is not there", lambda: client.log_artifact(run, "no such file"))
place = pathlib.Path(f"{name}-files")
(place / "deep").mkdir(parents=True)
(place / "deep" / "b.txt").write_text("b")
step("log a folder", lambda: client.log_artifacts(run, str(place), "all"))
step("list artifacts", lambda: [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run)])
step("list a folder", lambda: [(f.path, f.is_dir, f.file_size) for f in client.list_artifacts(run, "all/deep")])
step("list nothing", lambda: list(client.list_artifacts(run, "nothing")))
step("read a text", lambda: mlflow.artifacts.load_text(f"runs:/{run}/folder/a.txt"))
step("download a folder", lambda: pathlib.Path(client.download_artifacts(run, "all"), "deep", "b.txt").read_text())

# --- the registry
step("a registered model", lambda: client.create_registered_model(name, tags={"a": "b"}, description="d").name)
step("a registered model again", lambda: client.create_registered_model(name))
step("a version", lambda: version_of(client.create_model_version(name, f"runs:/{run}/folder", run, tags={"v": "1"})))
step("another version", lambda: version_of(client.create_model_version(name, f"runs:/{run}/folder", run)))
step("a version of nothing", lambda: client.create_model_version("nothing", f"runs:/{run}/folder", run))
step("an alias", lambda: client.set_registered_model_alias(name, "champion", "2"))
step("by its alias", lambda: version_of(client.get_model_version_by_alias(name, "champion")))
step("a version nobody made", lambda: client.get_model_version(name, "77"))
step("search versions", lambda: [version_of(v) for v in client.search_model_versions(f"name = '{name}'")])
step("tag a version", lambda: client.set_model_version_tag(name, "1", "k", "v"))
step("describe a version", lambda: version_of(client.update_model_version(name, "1", "words")))
step("delete a version", lambda: client.delete_model_version(name, "1"))
step("the registered model", lambda: sorted(client.get_registered_model(name).tags.items()))
step("delete the registered model", lambda: client.delete_registered_model(name))
step("it is gone", lambda: client.get_registered_model(name))

# --- the fluent calls
mlflow.set_experiment(name + "-renamed")
with mlflow.start_run(run_name="outer", tags={"k": "v"}) as outer:
    mlflow.log_params({"a": 1, "b": "two"})
    mlflow.log_metrics({"x": 1.0, "y": 2.0}, step=3)
    mlflow.set_tags({"s": "t"})
    step(
        "the active run",
        lambda: [mlflow.active_run().info.run_id == outer.info.run_id, mlflow.active_run().info.run_name],
    )
    with mlflow.start_run(nested=True, run_name="inner") as inner:
        mlflow.log_metric("z", 3.0)
        step("a run within a run that may not be", lambda: mlflow.start_run())
step("no run is active", lambda: mlflow.active_run())
step("outer", lambda: run_of(client.get_run(outer.info.run_id)))
step("inner", lambda: run_of(client.get_run(inner.info.run_id)))
step(
    "its parent",
    lambda: client.get_parent_run(inner.info.run_id).info.run_id if hasattr(client, "get_parent_run") else None,
)
with mlflow.start_run(run_id=outer.info.run_id):
    mlflow.log_param("later", 1)
step("outer taken up again", lambda: run_of(client.get_run(outer.info.run_id)))
try:
    with mlflow.start_run(run_name="fails") as failed:
        raise KeyError("mine")
except KeyError:
    pass
step("a run whose body fails", lambda: client.get_run(failed.info.run_id).info.status)
step(
    "a data set",
    lambda: (
        sorted(mlflow.search_runs(experiment_names=[name + "-renamed"], output_format="pandas").run_id.tolist()) != []
    ),
)
step("delete a run, fluently", lambda: mlflow.delete_run(failed.info.run_id))
step("which is deleted", lambda: client.get_run(failed.info.run_id).info.lifecycle_stage)

real = {}
if mlflow.get_tracking_uri().startswith("liftlock"):
    import liftlock_tracking

    assert liftlock_tracking.flush(60)
    runtime = client._tracking_client.store._runtime
    real = {prov: known for prov, known, _ in runtime.state.ids() if known}
text = json.dumps(answers, default=str)
for prov, known in real.items():
    text = text.replace(prov, known)
text = text.replace(name, "NAME").replace(f'"experiment_id": "{experiment}"', '"experiment_id": "E"')
for found in re.findall(r"\b[0-9a-f]{32}\b", text):
    ids.setdefault(found, f"id-{len(ids)}")
for found, number in ids.items():
    text = text.replace(found, number)
pathlib.Path(out).write_text(text)
