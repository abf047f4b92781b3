"""Fill a server with data of every kind its release has, through the release's real client."""

import math
import os
import random
import tempfile
import time

KEYS = ("loss", "accuracy", "learning_rate")


def populate(arguments, progress):
    """Experiments, runs (nested too), metric histories with NaN and infinity, artifacts, models, traces, users."""
    import mlflow
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient

    version = tuple(int(part) for part in mlflow.__version__.split(".")[:2])
    client = MlflowClient()
    rng = random.Random(arguments["seed"])
    counts = {}

    def count(kind, number=1):
        counts[kind] = counts.get(kind, 0) + number
        progress({"kind": kind, "done": counts[kind]})

    prefix = arguments["prefix"]
    experiments = []
    for number in range(arguments["experiments"]):
        experiment = client.create_experiment("%s-%d" % (prefix, number), tags={"team": "vision", "note": "ümlaut ✓"})
        experiments.append(experiment)
        count("experiments")
    runs = []
    with tempfile.TemporaryDirectory() as scratch:
        path = os.path.join(scratch, "report.txt")
        for number in range(arguments["runs"]):
            experiment = experiments[number % len(experiments)]
            # every fifth run has the run before it in the same experiment as its parent
            parent = runs[-len(experiments)] if number % 5 == 4 and len(runs) >= len(experiments) else None
            tags = {"mlflow.parentRunId": parent} if parent else {}
            run = client.create_run(experiment, run_name="run-%03d" % number, tags=tags).info.run_id
            runs.append(run)
            now = int(time.time() * 1000)
            metrics = []
            for step in range(arguments["points"]):
                for key in KEYS:
                    metrics.append(Metric(key, math.exp(-step / 20.0) + rng.random() / 10, now + step, step))
            metrics.append(Metric("diverged", float("nan"), now, 0))
            metrics.append(Metric("overflow", float("inf"), now, 0))
            params = [Param("p%d" % index, str(rng.random())) for index in range(arguments["params"])]
            labels = [RunTag("t%d" % index, "value %d" % index) for index in range(arguments["tags"])]
            client.log_batch(run, metrics=metrics[:900], params=params[:100], tags=labels[:100])
            for start in range(900, len(metrics), 900):
                client.log_batch(run, metrics=metrics[start : start + 900])
            for _ in range(arguments["artifacts"]):
                with open(path, "w") as file:
                    file.write("run %d\n" % number * rng.randint(1, 200))
                client.log_artifact(run, path, "reports")
                count("artifacts")
            client.set_terminated(run, rng.choice(["FINISHED", "FINISHED", "FAILED"]))
            count("runs")
            count("metrics", len(metrics))
            count("params", len(params))
            count("tags", len(labels))
    if len(runs) > 3:
        client.delete_run(runs[1])
        count("deleted runs")
    if experiments:
        _models(client, mlflow, version, experiments, arguments, count)
        if version >= (2, 14):
            _traces(mlflow, version, experiments, arguments, count)
    if arguments["users"]:
        _users(mlflow, arguments, experiments, count)
    return counts


def _models(client, mlflow, version, experiments, arguments, count):
    class Scale(mlflow.pyfunc.PythonModel):
        def __init__(self, factor):
            self.factor = factor

        def predict(self, context, model_input, params=None):
            return [value * self.factor for value in model_input]

    where = {"name": "model"} if version >= (3, 0) else {"artifact_path": "model"}
    if not arguments["models"]:
        return
    mlflow.set_experiment(experiment_id=experiments[0])
    with mlflow.start_run(run_name="training") as run:
        logged = mlflow.pyfunc.log_model(python_model=Scale(2), pip_requirements=["cloudpickle"], **where)
    count("runs")
    for number in range(arguments["models"]):
        name = "%s-model-%d" % (arguments["prefix"], number)
        client.create_registered_model(name, tags={"owner": "demo"}, description="made by the demo")
        count("models")
        for _ in range(arguments["versions"]):
            made = client.create_model_version(name, logged.model_uri, run.info.run_id, tags={"checked": "yes"})
            count("versions")
        if hasattr(client, "set_registered_model_alias"):
            client.set_registered_model_alias(name, "champion", made.version)
            count("aliases")


def _traces(mlflow, version, experiments, arguments, count):
    if not arguments["traces"]:
        return
    mlflow.set_experiment(experiment_id=experiments[0])
    ids = []
    for number in range(arguments["traces"]):
        with mlflow.start_span(name="question %d" % number) as root:
            root.set_inputs({"question": "what is %d?" % number})
            with mlflow.start_span(name="retrieve") as span:
                span.set_outputs({"documents": number})
            root.set_outputs({"answer": str(number)})
        ids.append(getattr(root, "trace_id", None) or root.request_id)
    if hasattr(mlflow, "flush_trace_async_logging"):
        mlflow.flush_trace_async_logging()
    count("traces", len(ids))
    if version >= (3, 2) and hasattr(mlflow, "log_feedback"):
        for trace in ids:
            mlflow.log_feedback(trace_id=trace, name="helpful", value=True)
            count("assessments")


def _users(mlflow, arguments, experiments, count):
    from mlflow.server import get_app_client

    admin = get_app_client("basic-auth", arguments["url"])
    for number, (name, password) in enumerate(arguments["users"]):
        admin.create_user(name, password)
        count("users")
        if not experiments:
            continue
        permission = ("READ", "EDIT", "MANAGE")[number % 3]
        if hasattr(admin, "create_experiment_permission"):
            admin.create_experiment_permission(experiments[0], name, permission)
        else:  # 3.13 or so: permissions became grants on resources
            admin.grant_user_permission(name, "experiment", experiments[0], permission)
        count("permissions")
        if arguments["models"]:
            model = "%s-model-0" % arguments["prefix"]
            if hasattr(admin, "create_registered_model_permission"):
                admin.create_registered_model_permission(model, name, permission)
            else:
                admin.grant_user_permission(name, "registered_model", model, permission)
            count("permissions")
