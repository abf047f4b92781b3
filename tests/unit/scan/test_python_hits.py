"""Uses in Python that are found, each on its line."""

import pytest

from tests.support.scan import check_sample, findings, spans

HITS = {
    "aliases": """
import mlflow as m
from mlflow import evaluate as ev, list_experiments  # expect LL105 LL101
import mlflow.gluon  # expect LL102
from mlflow.fastai import log_model  # expect LL102
m.list_experiments()  # expect LL101
list_experiments()  # expect LL101
ev("model", extra_metrics=[])  # expect LL105
""",
    "client": """
from mlflow.tracking import MlflowClient
import mlflow
client = MlflowClient()
client.list_experiments()  # expect LL101
mlflow.MlflowClient().list_registered_models()  # expect LL101
mlflow.tracking.client.MlflowClient("http://x").list_run_infos("0")  # expect LL101
""",
    "self and factories": """
import mlflow
def make():
    return mlflow.tracking.MlflowClient()
class Base:
    def __init__(self):
        self._client = None
    @property
    def client(self):
        if self._client is None:
            self._client = make()
        return self._client
class Job(Base):
    def go(self):
        self.client.list_experiments()  # expect LL101
        make().list_run_infos("1")  # expect LL101
""",
    "annotations and parameters": """
from __future__ import annotations
import mlflow
from typing import Optional
from mlflow import MlflowClient
def a(c: MlflowClient): c.list_experiments()  # expect LL101
def b(c: "Optional[MlflowClient]" = None): c.list_experiments()  # expect LL101
def d(given): given.list_registered_models()  # expect LL101
d(MlflowClient())
def e(run: mlflow.entities.Run): return run.info.run_uuid  # expect LL103
""",
    "runs": """
import mlflow
with mlflow.start_run() as run:
    run.info.run_uuid  # expect LL103
mlflow.active_run().info.run_uuid  # expect LL103
client = mlflow.MlflowClient()
for each in client.search_runs(["0"]):
    print(each.info.run_uuid)  # expect LL103
ids = [r.info.run_uuid for r in client.search_runs(["0"])]  # expect LL103
first = client.search_runs(["0"])[0]
first.info.run_uuid  # expect LL103
info = client.create_run("0").info
info.run_uuid  # expect LL103
""",
    "keywords": """
import mlflow
from mlflow.models import MetricThreshold
mlflow.models.evaluate("m", custom_metrics=[])  # expect LL201
config = {"baseline_model": 1}  # expect LL201
mlflow.models.evaluate("m", **config)
MetricThreshold(threshold=1, higher_is_better=True)  # expect LL201
mlflow.pyfunc.log_model(name="m", code_path=[])  # expect LL201
mlflow.pyfunc.save_model("p", code_path=[])  # expect LL202
mlflow.sklearn.log_model(1, "model")  # expect LL203
mlflow.sklearn.log_model(1, artifact_path="model")  # expect LL203
mlflow.tensorflow.autolog(every_n_iter=1)  # expect LL201
mlflow.start_run(run_idd="1")  # expect LL204
""",
    "literal names": """
import mlflow
from importlib import import_module
from unittest import mock
client = mlflow.MlflowClient()
getattr(client, "list_experiments")()  # expect LL101
import_module("mlflow").list_experiments()  # expect LL101
mock.patch("mlflow.list_experiments")  # expect LL101
mock.patch.object(mlflow, "list_experiments")  # expect LL101
""",
    "keywords that cannot be seen": """
import mlflow
def a(**options): mlflow.models.evaluate("m", **options)  # expect LL207
def known(x):
    options: dict = dict(model="m")
    options["custom_metrics"] = x  # expect LL201
    mlflow.models.evaluate(**options)
def b(**options): mlflow.log_metric("m", 1, **options)
def c(**options): mlflow.sklearn.load_model("m", **options)
""",
    "click runners": """
import mlflow.experiments
from click.testing import CliRunner
from mlflow import cli
from mlflow.cli import cli as program, run
from mlflow.deployments.cli import commands
CliRunner().invoke(commands, ["start-server"])  # expect LL301
CliRunner().invoke(mlflow.experiments.commands, ["list"])  # expect LL301
CliRunner().invoke(program, args=["experiments", "list"])  # expect LL301
CliRunner().invoke(cli.cli, ["run", ".", "--no-conda"])  # expect LL304
CliRunner().invoke(run, [".", "--no-conda"])  # expect LL304
CliRunner().invoke(other, ["experiments", "list"])
CliRunner().invoke(commands, ["create", "--name", "x"])
""",
    "text that is run or sent": """
import os, subprocess, requests, mlflow
subprocess.run(["mlflow", "experiments", "list"])  # expect LL301
subprocess.Popen("mlflow deployments start-server --port 1", shell=True)  # expect LL301
os.system(f"mlflow run {os.getcwd()} --no-conda")  # expect LL304
requests.get(f"{os.getcwd()}/api/2.0/mlflow/experiments/list")  # expect LL401
requests.get("http://h" + "/api/2.0/preview/mlflow/runs/get")  # expect LL401
os.environ["MLFLOW_GCS_DEFAULT_TIMEOUT"] = "1"  # expect LL501
os.getenv("MLFLOW_GCS_DEFAULT_TIMEOUT")  # expect LL501
""",
    "text that people are told to run, or that is put together": """
import mlflow, requests
print("  $ mlflow run . --no-conda")  # expect LL304
HELP = "mlflow run no longer needs conda, so --no-conda is gone"
script = "set -e\\nmlflow experiments list\\n"  # expect LL301
cmds = ["bash", "-c", "cd x && mlflow run . --no-conda"]  # expect LL304
API = "api/2.0/preview/mlflow"  # expect LL401
url = self.base_url + "/experiments/list"  # expect LL401
other = f"{host}/registered-models/list"  # expect LL401
page = f"{folder_of(x)}/experiments/list"
requests.get("{server}/api/2.0/preview/mlflow/runs/get")  # expect LL401
""",
    "requirements that are installed": """
import mlflow, os, subprocess
@component(packages_to_install=["pandas", "mlflow==2.9.2"])  # expect LL601
def train(): ...
PythonVirtualenvOperator(requirements=["mlflow<3"])  # expect LL601
subprocess.check_call([sys.executable, "-m", "pip", "install", "mlflow[extras]==2.9.2"])  # expect LL601
os.system("pip install -q mlflow==2.9.2")  # expect LL601
session.install("mlflow==2.9.2", "mlflow-export-import==1.0")  # expect LL601
session.install("mlflow>=2", "pandas")
VERSIONS = ["mlflow==2.9.2"]
""",
    "imports that are made by a helper": """
from typing import Any
def import_mlflow() -> Any:
    return guard_import("mlflow")
class C:
    def __init__(self):
        self.mlflow = import_mlflow()
    def go(self):
        self.mlflow.list_experiments()  # expect LL101
""",
    "what came after the source release": """
import mlflow
mlflow.transformers.log_model(m, artifact_path="x")  # expect LL203
mlflow.transformers.save_model(m, "x", inference_config={})  # expect LL202
""",
    "a client that is only called so": """
import mlflow
def go(mlflow_client):
    mlflow_client.list_experiments()  # expect LL101
""",
    "what is asked has nothing to do with MLflow": """
import mlflow
def f(self):
    if hasattr(self, "lr_finder"):
        mlflow.list_experiments()  # expect LL101
        return
    mlflow.list_experiments()  # expect LL101
""",
    "a subclass": """
from mlflow.tracking import MlflowClient
class Mine(MlflowClient):
    def all(self):
        return self.list_experiments()  # expect LL101
Mine().list_run_infos("0")  # expect LL101
""",
}


@pytest.mark.parametrize("name", HITS)
def test_found(name: str) -> None:
    check_sample(HITS[name])


def test_the_span_is_the_word_that_is_wrong() -> None:
    text = "import mlflow\nmlflow.models.evaluate('é', custom_metrics=[])\n"
    assert spans(text) == ["custom_metrics"]


def test_what_is_said_of_a_finding() -> None:
    found = findings("import mlflow\nmlflow.MlflowClient().list_experiments()\n")[0]
    assert (found.verdict.value, found.changed_in, found.confidence.value) == ("broken", "2.0.1", "certain")
    assert found.symbol == "mlflow.MlflowClient.list_experiments"
    assert "search_experiments" in found.replacement
    before = findings("import mlflow\nmlflow.MlflowClient().list_experiments()\n", old="1.30.1", new="2.9.2")[0]
    assert before.verdict.value == "breaks"


def test_a_name_guessed_from_a_variable_is_likely_and_never_fixed_without_asking() -> None:
    found = findings("import mlflow\ndef f(client):\n    client.list_experiments()\n")[0]
    assert found.confidence.value == "likely"
    assert not any(edit.safe for edit in found.edits)
