"""Fill a server with data of every kind its release has, through the release's real client."""

import math
import os
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

KEYS = ("loss", "accuracy", "learning_rate")


def populate(arguments, progress):
    """Experiments, runs (nested too), metric histories with NaN and infinity, artifacts, models, traces, users."""
    import mlflow
    from mlflow.tracking import MlflowClient

    version = tuple(int(part) for part in mlflow.__version__.split(".")[:2])
    client = MlflowClient()
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
    numbers = list(range(arguments["runs"]))
    runs = {}

    def make(number):
        # Every fifth run is a child of the run before it in the same experiment.
        parent = runs.get(number - len(experiments)) if number % 5 == 4 else None
        runs[number] = _run(client, experiments[number % len(experiments)], number, parent, arguments)

    # Parents first; several at once, because a server with basic-auth spends 0.2 s a request on the password.
    with ThreadPoolExecutor(4) as pool:
        for wave in ([n for n in numbers if n % 5 != 4], [n for n in numbers if n % 5 == 4]):
            list(pool.map(make, wave))
    count("runs", len(runs))
    count("metrics", len(runs) * (arguments["points"] * len(KEYS) + 2))
    count("params", len(runs) * arguments["params"])
    count("tags", len(runs) * arguments["tags"])
    count("artifacts", len([number for number in numbers if number % 2 == 0]) * arguments["artifacts"])
    if len(runs) > 3:
        client.delete_run(runs[1])  # deleted rows must survive an upgrade too
        count("deleted runs")
    if experiments:
        _models(client, mlflow, version, experiments, arguments, count)
        if version >= (2, 14):
            _traces(mlflow, version, experiments, arguments, count)
    if arguments["users"]:
        _users(mlflow, arguments, experiments, count)
    return counts


def _run(client, experiment, number, parent, arguments):
    """One run with everything it logs; returns its id. The same seed and number give the same values."""
    from mlflow.entities import Metric, Param, RunStatus, RunTag
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    rng = random.Random("%s-%s" % (arguments["seed"], number))
    tags = {"mlflow.parentRunId": parent} if parent else {}
    info = client.create_run(experiment, run_name="run-%03d" % number, tags=tags).info
    now = int(time.time() * 1000)
    metrics = [
        Metric(key, math.exp(-step / 20.0) + rng.random() / 10, now + step, step)
        for step in range(arguments["points"])
        for key in KEYS
    ]
    metrics += [Metric("diverged", float("nan"), now, 0), Metric("overflow", float("inf"), now, 0)]
    params = [Param("p%d" % index, str(rng.random())) for index in range(arguments["params"])]
    labels = [RunTag("t%d" % index, "value %d" % index) for index in range(arguments["tags"])]
    # A batch takes 1,000 entities, of which 100 params and 100 tags.
    client.log_batch(info.run_id, metrics=metrics[:800], params=params[:100], tags=labels[:100])
    for start in range(800, len(metrics), 1000):
        client.log_batch(info.run_id, metrics=metrics[start : start + 1000])
    repository = get_artifact_repository(info.artifact_uri)
    with tempfile.TemporaryDirectory() as scratch:
        for index in range(arguments["artifacts"] if number % 2 == 0 else 0):
            path = os.path.join(scratch, "report-%d.txt" % index)
            with open(path, "w") as file:
                file.write("run %d\n" % number * rng.randint(1, 200))
            repository.log_artifact(path, "reports")
    # What set_terminated does, without asking for the run first.
    status = RunStatus.from_string(rng.choice(["FINISHED", "FINISHED", "FAILED"]))
    client._tracking_client.store.update_run_info(info.run_id, status, now + arguments["points"], info.run_name)
    return info.run_id


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
    with mlflow.start_run(run_name="training"):
        logged = mlflow.pyfunc.log_model(python_model=Scale(2), pip_requirements=["cloudpickle"], **where)
    count("runs")
    link = {"model_id": logged.model_id} if version >= (3, 0) else {}
    for number in range(arguments["models"]):
        name = "%s-model-%d" % (arguments["prefix"], number)
        client.create_registered_model(name, tags={"owner": "demo"}, description="made by the demo")
        count("models")
        for _ in range(arguments["versions"]):
            made = client.create_model_version(name, logged.model_uri, logged.run_id, tags={"checked": "yes"}, **link)
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
