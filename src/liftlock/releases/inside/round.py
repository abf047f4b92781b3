"""Thirty-one operations of a real client against a real server, each with its outcome: what `compatibility` measures.

Unlike `smoke.py` this leaves everything behind: the server is a scratch one. Syntax and library of Python 3.7.
"""

import math
import os
import shutil
import tempfile
import time
import uuid


class Skip(Exception):
    pass


class Missing(Exception):
    pass


class Round:
    """Operations in order: ok, failed, n/a (this client has no such call) or skipped (an earlier one failed)."""

    def __init__(self, progress):
        self.progress = progress
        self.operations = []
        self.made = {}

    def need(self, name):
        if name not in self.made:
            raise Skip("needs what '%s' makes" % name)
        return self.made[name]

    def do(self, name, function):
        started = time.monotonic()
        outcome, message = "ok", ""
        try:
            self.made[name] = function()
        except Skip as error:
            outcome, message = "skipped", str(error)
        except Missing as error:
            outcome, message = "n/a", str(error)
        except Exception as error:
            text = (str(error).strip() or "no message").splitlines()[0]
            outcome, message = "failed", "%s: %s" % (type(error).__name__, text[:300])
        self.operations.append([name, outcome, round(time.monotonic() - started, 3), message])
        self.progress({"operation": name})


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError("%s is %r, expected %r" % (what, got, wanted))


def has(owner, *names):
    for name in names:
        if not hasattr(owner, name):
            raise Missing("this client has no %s" % name)


def run_round(arguments, progress):
    import mlflow

    major = int(mlflow.__version__.split(".")[0])
    scratch = tempfile.mkdtemp(prefix="liftlock-round-")
    # A unique name has no letter that a filter or an address would read as something else.
    name = "round-" + uuid.uuid4().hex
    did = Round(progress)
    client = mlflow.tracking.MlflowClient()
    steps = tracking(mlflow, client, did, name, scratch)
    steps += registry(client, did, name)
    steps += fluent(mlflow, client, did, name, major)
    steps += deletions(client, did, name)
    for step, function in steps:
        did.do(step, function)
    shutil.rmtree(scratch, ignore_errors=True)
    return {"operations": did.operations}


def tracking(mlflow, client, did, name, scratch):
    from mlflow.entities import Metric, Param, RunTag

    need = did.need
    now = int(time.time() * 1000)

    def create_experiment():
        return client.create_experiment(name)

    def get_experiment():
        same(client.get_experiment(need("create experiment")).name, name, "the experiment's name")
        same(client.get_experiment_by_name(name).experiment_id, need("create experiment"), "the experiment's id")

    def search_experiments():
        has(client, "search_experiments")
        found = client.search_experiments(filter_string="name = '%s'" % name)
        same([each.experiment_id for each in found], [need("create experiment")], "the experiments found")

    def experiment_tag():
        client.set_experiment_tag(need("create experiment"), "e", "1")
        same(client.get_experiment(need("create experiment")).tags.get("e"), "1", "the experiment's tag")

    def create_run():
        return client.create_run(need("create experiment"), tags={"a": "b"}).info.run_id

    def log_param():
        client.log_param(need("create run"), "p", "1")
        return True

    def log_metric():
        run = need("create run")
        for step in range(3):
            client.log_metric(run, "m", step / 2.0, timestamp=now + step, step=step)
        client.log_metric(run, "nan", float("nan"), timestamp=now)
        client.log_metric(run, "inf", float("inf"), timestamp=now)
        return True

    def log_batch():
        metrics = [Metric("b", float(step), now + step, step) for step in range(50)]
        client.log_batch(need("create run"), metrics=metrics, params=[Param("q", "2")], tags=[RunTag("u", "batch")])
        return True

    def run_tags():
        run = need("create run")
        client.set_tag(run, "t", "value")
        client.set_tag(run, "gone", "value")
        client.delete_tag(run, "gone")
        tags = client.get_run(run).data.tags
        same((tags.get("t"), "gone" in tags), ("value", False), "the run's tags")

    def log_artifact():
        path = os.path.join(scratch, "note.txt")
        with open(path, "w") as file:
            file.write(name)
        client.log_artifact(need("create run"), path, "notes")
        return True

    def list_artifacts():
        need("log artifact")
        found = client.list_artifacts(need("create run"), "notes")
        same([item.path for item in found], ["notes/note.txt"], "the artifacts listed")

    def download_artifact():
        need("log artifact")
        target = os.path.join(scratch, "down")
        os.makedirs(target)
        with open(client.download_artifacts(need("create run"), "notes/note.txt", target)) as file:
            same(file.read(), name, "the artifact's content")

    def log_inputs():
        has(client, "log_inputs")
        from mlflow.entities import Dataset, DatasetInput

        dataset = Dataset(name="d", digest="1", source_type="local", source="{}")
        client.log_inputs(need("create run"), [DatasetInput(dataset, [])])
        found = client.get_run(need("create run")).inputs.dataset_inputs
        same([each.dataset.name for each in found], ["d"], "the datasets of the run")

    def get_run():
        need("log metric")
        data = client.get_run(need("create run")).data
        same(data.params.get("p"), "1", "param p")
        same(data.metrics.get("m"), 1.0, "metric m")
        same(math.isnan(data.metrics.get("nan", 0.0)), True, "whether metric nan is NaN")
        same(data.metrics.get("inf", 0.0) > 1e300, True, "whether metric inf is huge")

    def metric_history():
        need("log batch")
        points = sorted(client.get_metric_history(need("create run"), "b"), key=lambda point: point.step)
        same(len(points), 50, "the number of points")
        same([point.value for point in points], [float(step) for step in range(50)], "the history of b")

    def search_runs():
        need("log batch")
        found = client.search_runs(
            [need("create experiment")], "params.q = '2' and metrics.b > 48", order_by=["metrics.b DESC"]
        )
        same([run.info.run_id for run in found], [need("create run")], "the runs found")

    def terminate_run():
        client.set_terminated(need("create run"))
        same(client.get_run(need("create run")).info.status, "FINISHED", "the run's status")

    return [
        ("create experiment", create_experiment), ("get experiment", get_experiment),
        ("search experiments", search_experiments), ("tag experiment", experiment_tag), ("create run", create_run),
        ("log param", log_param), ("log metric", log_metric), ("log batch", log_batch),
        ("set and delete tag", run_tags), ("log artifact", log_artifact), ("list artifacts", list_artifacts),
        ("download artifact", download_artifact),
        ("log inputs", log_inputs), ("get run", get_run), ("metric history", metric_history),
        ("search runs", search_runs), ("terminate run", terminate_run),
    ]  # fmt: skip


def registry(client, did, name):
    need = did.need
    model = name + "-m"

    def source():
        return client.get_run(need("create run")).info.artifact_uri + "/notes"

    def create_model():
        client.create_registered_model(model, tags={"k": "v"}, description="d")
        return model

    def create_version():
        return client.create_model_version(need("create registered model"), source(), need("create run")).version

    def tag_version():
        version = need("create model version")
        client.set_model_version_tag(model, version, "v", "1")
        same(client.get_model_version(model, version).tags.get("v"), "1", "the version's tag")

    def stage():
        has(client, "transition_model_version_stage")
        client.transition_model_version_stage(model, need("create model version"), "Staging")
        same(client.get_model_version(model, need("create model version")).current_stage, "Staging", "the stage")
        return True

    def latest():
        has(client, "get_latest_versions")
        need("set stage")
        found = client.get_latest_versions(model, stages=["Staging"])
        same([str(each.version) for each in found], [str(need("create model version"))], "the latest versions")

    def alias():
        has(client, "set_registered_model_alias")
        client.set_registered_model_alias(model, "champion", need("create model version"))
        found = client.get_model_version_by_alias(model, "champion")
        same(str(found.version), str(need("create model version")), "the version behind the alias")

    def search():
        need("create model version")
        has(client, "search_registered_models", "search_model_versions")
        found = client.search_registered_models(filter_string="name = '%s'" % model)
        same([each.name for each in found], [model], "the models found")
        versions = client.search_model_versions("name = '%s'" % model)
        same([str(each.version) for each in versions], ["1"], "the versions found")

    def second():
        need("create model version")
        version = client.create_model_version(model, source(), need("create run")).version
        client.delete_model_version(model, version)
        try:
            client.get_model_version(model, version)
        except Exception:
            return
        raise AssertionError("the deleted version is still there")

    def rename():
        new = model + "-renamed"
        client.rename_registered_model(need("create registered model"), new)
        same(client.get_registered_model(new).name, new, "the model's name")
        return new

    return [
        ("create registered model", create_model), ("create model version", create_version),
        ("tag model version", tag_version), ("set stage", stage), ("get latest versions", latest),
        ("set alias", alias), ("search models and versions", search), ("delete model version", second),
        ("rename model", rename),
    ]  # fmt: skip


def fluent(mlflow, client, did, name, major):
    need = did.need

    def model():
        import mlflow.pyfunc

        class Echo(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return model_input

        mlflow.set_experiment(experiment_id=need("create experiment"))
        with mlflow.start_run() as run:
            where = {"name": "model"} if major >= 3 else {"artifact_path": "model"}
            # Named requirements: inferring them would import the model in yet another process.
            info = mlflow.pyfunc.log_model(python_model=Echo(), pip_requirements=["cloudpickle"], **where)
            uri = info.model_uri if info is not None else "runs:/%s/model" % run.info.run_id
        version = mlflow.register_model(uri, name + "-fluent", await_registration_for=30).version
        loaded = mlflow.pyfunc.load_model("models:/%s/%s" % (name + "-fluent", version))
        same(list(loaded.predict([1, 2])), [1, 2], "the model's answer")

    def trace():
        has(mlflow, "start_span")
        has(client, "get_trace")
        mlflow.set_experiment(experiment_id=need("create experiment"))
        with mlflow.start_span("work") as span:
            span.set_inputs({"x": 1})
            span.set_outputs({"y": 2})
        key = getattr(span, "trace_id", None) or span.request_id
        flush = getattr(mlflow, "flush_trace_async_logging", None)
        if flush is not None:
            try:
                flush()
            except Exception:
                pass  # nothing to flush where logging is synchronous
        deadline = time.monotonic() + 10
        while True:
            try:
                found = client.get_trace(key)
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
        same([each.name for each in found.data.spans], ["work"], "the spans of the trace")

    return [("log, register and load model", model), ("log and read trace", trace)]


def deletions(client, did, name):
    need = did.need

    def run():
        client.delete_run(need("create run"))
        same(client.get_run(need("create run")).info.lifecycle_stage, "deleted", "the run's stage")
        client.restore_run(need("create run"))
        same(client.get_run(need("create run")).info.lifecycle_stage, "active", "the run's stage")

    def experiment():
        key = need("create experiment")
        client.delete_experiment(key)
        same(client.get_experiment(key).lifecycle_stage, "deleted", "the experiment's stage")
        client.restore_experiment(key)
        client.rename_experiment(key, name + "-renamed")
        same(client.get_experiment(key).name, name + "-renamed", "the experiment's name")

    def model():
        client.delete_registered_model(need("rename model"))
        try:
            client.get_registered_model(need("rename model"))
        except Exception:
            return
        raise AssertionError("the deleted model is still there")

    return [
        ("delete and restore run", run),
        ("delete, restore and rename experiment", experiment),
        ("delete model", model),
    ]
