"""Rules executed: each behaviour is the old one before the release its rule names, and the new one from there on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import uv

from liftlock.knowledge import behaviours
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.scan.rules.registry import RULES
from tests.support.releases import OLD, environment, environments, newest

_RUNNER = """
import contextlib, json, os, sys, warnings
outcomes, names = {}, {}
for code, snippet in json.load(sys.stdin).items():
    os.makedirs(code)
    os.chdir(code)
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            exec(snippet, names)
            outcomes[code] = names["new"]
        except Exception as error:
            outcomes[code] = repr(error)
        if outcomes[code] == "warned":
            outcomes[code] = any("stage" in str(w.message) and "deprecated" in str(w.message) for w in caught)
    os.chdir("..")
print(json.dumps(outcomes))
"""
_MODEL = """
import os, mlflow
class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input
mlflow.set_tracking_uri("sqlite:////" + os.getcwd() + "/x.db")
with mlflow.start_run() as run:
    mlflow.pyfunc.log_model("model", python_model=Model())
"""
# Each leaves `new`: whether the release behaves as the rule says. They run in this order, with the same names.
SNIPPETS = {
    "LL801": """
import mlflow
try:
    mlflow.set_tracking_uri("file:./runs")
    mlflow.MlflowClient().search_experiments()
    new = False
except mlflow.MlflowException as error:
    new = "MLFLOW_ALLOW_FILE_STORE" in str(error)
    assert new, error
""",
    "LL802": """
import mlflow
mlflow.set_tracking_uri(None)
new = {"sqlite": True, "file": False}[mlflow.get_tracking_uri().partition(":")[0]]
""",
    "LL803": """
import mlflow.server
try:
    import mlflow.server.fastapi_security
    new = True
except ModuleNotFoundError:
    new = False
""",
    "LL804": "import mlflow.utils.mlflow_tags as tags\nnew = 'mlflow.gitRepoURL' not in vars(tags).values()\n",
    "LL805": _MODEL + """
try:
    mlflow.pyfunc.load_model(run.info.artifact_uri + "/model")
    new = False
except Exception as error:
    new = "No such artifact" in str(error) or "No such file" in str(error)
    assert new, error
mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")
""",
    "LL812": """
new = "mlflow.log-model.history" not in mlflow.MlflowClient().get_run(run.info.run_id).data.tags
""",
    "LL807": """
import os, mlflow
from sklearn.linear_model import LinearRegression
mlflow.sklearn.save_model(LinearRegression().fit([[0], [1]], [0, 1]), "m")
new = {"model.skops": True, "model.pkl": False}[next(each for each in os.listdir("m") if each.startswith("model."))]
""",
    "LL808": """
from mlflow.pyfunc import scoring_server
kind, data = "application/json; format=pandas-split", '{"columns": ["a"], "data": [[1]]}'
if hasattr(scoring_server, "invocations"):
    status = scoring_server.invocations(data, kind, Model(), None).status
else:  # 1.x has the application only
    from types import SimpleNamespace
    schemas = SimpleNamespace(get_input_schema=lambda: None)
    application = scoring_server.init(SimpleNamespace(predict=lambda frame: [1], metadata=schemas))
    status = application.test_client().post("/invocations", data=data, content_type=kind).status_code
new = {415: True, 200: False}[status]
""",
    "LL810": """
from mlflow.models.cli import commands
option = next(each for each in commands.commands["serve"].params if "--env-manager" in each.opts)
new = {"virtualenv": True, "conda": False}[option.help.rpartition("If unspecified, default to ")[2].strip(" .\\n")]
""",
    "LL811": """
import os
os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = "secret"
try:
    from mlflow.server import app, auth
    auth.create_app(app)
    new = False
except mlflow.MlflowException as error:
    new = "MLFLOW_AUTH_ADMIN_PASSWORD" in str(error)
    assert new, error
""",
    "LL813": """
import pathlib
from mlflow.gateway import config
model = "{provider: openai, name: x, config: {openai_api_key: y}}"
text = "routes: [{name: chat, route_type: llm/v1/chat, model: " + model + "}]"
pathlib.Path("gateway.yaml").write_text(text)
try:
    load = getattr(config, "_load_gateway_config", None) or config._load_route_config
    load(pathlib.Path("gateway.yaml"))
    new = False
except (mlflow.MlflowException, KeyError) as error:  # where `routes` came back, it is something else
    new = "routes" in str(error) or "task_type" in str(error)
    assert new, error
""",
    "LL809": """
version = mlflow.register_model(f"runs:/{run.info.run_id}/model", "m")
mlflow.MlflowClient().transition_model_version_stage("m", version.version, "Production")
new = "warned"
""",
}  # fmt: skip
APART = {"LL806"}  # in a test of its own, because it needs SHAP
# What a release has nothing of, or its plain environment lacks a package for: scikit-learn, pydantic, aiohttp.
BEFORE = {"1.30.1": {"LL807", "LL811", "LL813"}, OLD: {"LL813"}, "2.22.5": {"LL813"}}


def _python(version: str) -> Path:
    if version.startswith("1."):  # too old for the proof that its server starts
        return environments().build(Release.parse(version), start=False).python
    return environment(version).python


def _check(version: str, directory: Path) -> None:
    asked = {code: snippet for code, snippet in SNIPPETS.items() if code not in BEFORE.get(version, ())}
    done = subprocess.run(
        [str(_python(version)), "-c", _RUNNER], input=json.dumps(asked), capture_output=True, text=True, timeout=300,
        env=clean_environment({"GIT_PYTHON_REFRESH": "quiet", "SETUPTOOLS_USE_DISTUTILS": "stdlib"}), check=False,
        cwd=directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes = json.loads(done.stdout.splitlines()[-1])
    release = Release(version=version)
    assert outcomes == {code: behaviours.of_rule(code).release <= release for code in asked}


def test_every_rule_is_tried_or_named() -> None:
    assert {rule.code.code for rule in RULES} == set(SNIPPETS) | APART


@pytest.mark.release
def test_rules_in_the_newest_release(tmp_path: Path) -> None:
    _check(newest(), tmp_path)


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize("version", ["1.30.1", OLD, "2.22.5", "3.4.0"])
def test_rules_in_between(version: str, tmp_path: Path) -> None:
    _check(version, tmp_path)


_EXPLAINER = """
import os, mlflow, numpy, pandas
from sklearn.linear_model import LogisticRegression
mlflow.set_tracking_uri("sqlite:////" + os.getcwd() + "/x.db")
frame = pandas.DataFrame(numpy.random.RandomState(0).rand(60, 2), columns=["a", "b"])
truth = (frame.a > frame.b).astype(int)
with mlflow.start_run() as run:
    uri = mlflow.sklearn.log_model(LogisticRegression().fit(frame, truth), "m").model_uri
    mlflow.models.evaluate(uri, frame.assign(y=truth), targets="y", model_type="classifier")
artifacts = [each.path for each in mlflow.MlflowClient().list_artifacts(run.info.run_id)]
assert "shap_summary_plot.png" in artifacts, artifacts
print("explainer" not in artifacts)
"""
_SHAP = ("shap", "numba", "llvmlite", "slicer", "tqdm")


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize("version", ["2.22.5", newest()])
def test_the_explainer(version: str, tmp_path: Path) -> None:
    python, beside = str(environment(version).python), tmp_path / "shap"
    words = [uv.find_uv_bin(), "pip", "install", "-q", "--python", python, "--target", str(beside), "--no-deps", *_SHAP]
    subprocess.run(words, check=True, timeout=600, env=clean_environment())
    done = subprocess.run(
        [python, "-c", _EXPLAINER], capture_output=True, text=True, timeout=600, check=False, cwd=tmp_path,
        env=clean_environment({"PYTHONPATH": str(beside), "GIT_PYTHON_REFRESH": "quiet"}),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    new = behaviours.of_rule("LL806").release <= Release(version=version)
    assert done.stdout.splitlines()[-1] == str(new)
