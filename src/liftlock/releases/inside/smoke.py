"""A real client's round against a server: create, log, read back, register, load, and clean up after itself."""

import math
import os
import tempfile
import time
import uuid

PREFIX = "liftlock-smoke-"


class Skip(Exception):
    pass


class Round:
    """Operations run in order; one whose material an earlier one failed to make is skipped, with the reason."""

    def __init__(self, progress):
        self.progress = progress
        self.operations = []
        self.made = {}

    def need(self, name):
        if name not in self.made:
            raise Skip("needs what %s makes" % name)
        return self.made[name]

    def do(self, name, function):
        started = time.monotonic()
        outcome, message = "ok", ""
        try:
            self.made[name] = function()
        except Skip as skip:
            outcome, message = "skipped", str(skip)
        except Exception as error:
            text = (str(error).strip() or "no message").splitlines()[0]
            outcome, message = "failed", "%s: %s" % (type(error).__name__, text[:400])
        self.operations.append([name, outcome, time.monotonic() - started, message])
        self.progress({"operation": name})


def same(got, wanted, what):
    if got != wanted:
        raise AssertionError("%s is %r, expected %r" % (what, got, wanted))


def warm(arguments, progress):
    """Import what a client needs, so that it can start at once later."""
    import mlflow.pyfunc
    import mlflow.tracking

    return {"client": mlflow.__version__}


def smoke(arguments, progress):
    # Read by MLflow when it calls, not when it is imported: a process that was warm before has no server yet.
    os.environ.update(arguments.get("environment", {}))
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    major = int(mlflow.__version__.split(".")[0])
    name = PREFIX + uuid.uuid4().hex
    model_name = name + "-model"
    now = int(time.time() * 1000)
    did = Round(progress)
    do, need = did.do, did.need
    scratch = tempfile.mkdtemp(prefix="liftlock-smoke-")

    def create_experiment():
        return client.create_experiment(name)

    def get_experiment():
        same(client.get_experiment(need("create experiment")).name, name, "the experiment's name")
        same(client.get_experiment_by_name(name).experiment_id, need("create experiment"), "the experiment's id")

    def create_run():
        return client.create_run(need("create experiment"), run_name="liftlock").info.run_id

    def log():
        run = need("create run")
        client.log_param(run, "p", "1")
        client.set_tag(run, "t", "value")
        for step in range(3):
            client.log_metric(run, "m", step / 2.0, timestamp=now + step, step=step)
        client.log_metric(run, "nan", float("nan"), timestamp=now)

    def log_batch():
        metrics = [Metric("b", float(step), now + step, step) for step in range(20)]
        client.log_batch(need("create run"), metrics=metrics, params=[Param("q", "2")], tags=[RunTag("u", "batch")])

    def read_run():
        need("log")
        data = client.get_run(need("create run")).data
        same(data.params.get("p"), "1", "param p")
        same(data.tags.get("t"), "value", "tag t")
        same(data.metrics.get("m"), 1.0, "metric m")
        same(math.isnan(data.metrics.get("nan", 0.0)), True, "whether metric nan is NaN")

    def history():
        need("log batch")
        points = sorted(client.get_metric_history(need("create run"), "b"), key=lambda point: point.step)
        same([point.value for point in points], [float(step) for step in range(20)], "the history of b")

    def search():
        need("log batch")
        found = client.search_runs([need("create experiment")], "params.q = '2' and metrics.b > 18")
        same([run.info.run_id for run in found], [need("create run")], "the runs found")

    def log_artifact():
        path = os.path.join(scratch, "note.txt")
        with open(path, "w") as file:
            file.write(name)
        client.log_artifact(need("create run"), path, "notes")
        return name

    def list_artifacts():
        need("log artifact")
        found = client.list_artifacts(need("create run"), "notes")
        same([item.path for item in found], ["notes/note.txt"], "the artifacts listed")

    def download():
        text = need("log artifact")
        target = os.path.join(scratch, "down")
        os.makedirs(target)
        path = client.download_artifacts(need("create run"), "notes/note.txt", target)
        with open(path) as file:
            same(file.read(), text, "the artifact's content")

    def terminate():
        client.set_terminated(need("create run"))
        same(client.get_run(need("create run")).info.status, "FINISHED", "the run's status")

    def log_model():
        class Echo(mlflow.pyfunc.PythonModel):
            def predict(self, context, model_input, params=None):
                return model_input

        mlflow.set_experiment(experiment_id=need("create experiment"))
        with mlflow.start_run(run_name="liftlock-model") as run:
            did.made["model run"] = run.info.run_id
            where = {"name": "model"} if major >= 3 else {"artifact_path": "model"}
            # Named requirements: inferring them would import the model in yet another process.
            return mlflow.pyfunc.log_model(python_model=Echo(), pip_requirements=["cloudpickle"], **where).model_uri

    def register():
        source = need("log model")
        return mlflow.register_model(source, model_name, await_registration_for=30).version

    def alias():
        client.set_registered_model_alias(model_name, "smoke", need("register model"))
        found = client.get_model_version_by_alias(model_name, "smoke")
        same(str(found.version), str(need("register model")), "the version behind the alias")

    def load():
        version = need("register model")
        model = mlflow.pyfunc.load_model("models:/%s/%s" % (model_name, version))
        same(list(model.predict([1, 2])), [1, 2], "the model's answer")

    steps = [
        ("create experiment", create_experiment), ("get experiment", get_experiment), ("create run", create_run),
        ("log", log), ("log batch", log_batch), ("read run", read_run), ("metric history", history),
        ("search runs", search), ("log artifact", log_artifact), ("list artifacts", list_artifacts),
        ("download artifact", download), ("terminate run", terminate),
    ]  # fmt: skip
    if arguments.get("model", True):
        steps += [
            ("log model", log_model), ("register model", register), ("model alias", alias), ("load model", load),
        ]  # fmt: skip
    for step, function in steps:
        do(step, function)
    created = _created(client, did, name, model_name)
    if arguments.get("cleanup", True):
        do("clean up", lambda: _clean(client, created, "register model" in did.made))
    import shutil

    shutil.rmtree(scratch, ignore_errors=True)
    return {"operations": did.operations, "created": created}


def _created(client, did, name, model_name):
    experiment = did.made.get("create experiment")
    runs = [did.made[key] for key in ("create run", "model run") if key in did.made]
    models = []
    if experiment is not None and hasattr(client, "search_logged_models"):
        try:
            models = [model.model_id for model in client.search_logged_models([experiment])]
        except Exception:
            models = []  # a server older than logged models; log_model has failed there, and said so
    return {
        "experiment_id": experiment,
        "experiment_name": name,
        "run_ids": runs,
        "model_name": model_name if "register model" in did.made else None,
        "logged_model_ids": models,
    }


def _clean(client, created, registered):
    """Delete what was made, artifacts first. All of it is tried; the first failure is raised at the end."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    def artifacts(uri):
        return lambda: get_artifact_repository(uri).delete_artifacts()

    work = []
    if registered:
        work.append(lambda: client.delete_registered_model(created["model_name"]))
    for model in created["logged_model_ids"]:
        work.append(artifacts(client.get_logged_model(model).artifact_location))
        work.append(lambda model=model: client.delete_logged_model(model))
    for run in created["run_ids"]:
        work.append(artifacts(client.get_run(run).info.artifact_uri))
        work.append(lambda run=run: client.delete_run(run))
    if created["experiment_id"] is not None:
        work.append(lambda: client.delete_experiment(created["experiment_id"]))
    failures = []
    for function in work:
        try:
            function()
        except Exception as error:
            failures.append(error)
    if failures:
        raise failures[0]
