"""Real code bases from the package index: no crash, nothing said of MLflow's own code, and labels made by reading.

The packages are downloaded by pip and never kept here. A label is (file, line, code) on the way from 1.30.1 to 3.17.2;
of every package all lines were read that name anything MLflow ever dropped, and every import was tried in 3.17.2.
"""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.scan.model import Verdict
from liftlock.scan.run import scan

# What was found by reading; LL207 (keywords that cannot be seen) is information and left out.
LABELLED: dict[str, set[tuple[str, int, str]]] = {
    "auto-mlflow==1.5": {("auto_mlflow/__init__.py", 126, "LL203"), ("auto_mlflow/__init__.py", 126, "LL807")},
    "bigmlflow==1.0.2": {("bigmlflow/bigml.py", 175, "LL202"), ("bigmlflow/bigml.py", 271, "LL203")},
    "comet-for-mlflow==0.1.9": set(),
    "coremlflow==0.0.2": {
        ("coremlflow/models/prophet.py", 17, "LL203"), ("coremlflow/models/sklearn.py", 16, "LL807"),
        ("coremlflow/models/sklearn.py", 18, "LL203"),
    },
    "dagster-mlflow==0.29.27": set(),
    "dgtw-mlflow-utils==1.0.4": set(),
    "fastapi-mlflow==0.8.0": set(),
    "h2o-mlflow-flavor==0.1.0": {("h2o_mlflow_flavor/__init__.py", 295, "LL203")},
    "hiplot-mlflow==0.1.0": set(),
    "inspect-mlflow==0.9.0": {("inspect_mlflow/scout.py", 65, "LL203")},
    "kedro-mlflow==2.0.3": {("kedro_mlflow/config/kedro_mlflow_config.py", 143, "LL801")},
    "lit-mlflow==0.1.2": {("lit_mlflow/callback.py", 135, "LL807"), ("lit_mlflow/callback.py", 144, "LL202")},
    "mlflow-assistant==0.1.4": {
        ("mlflow_assistant/utils/constants.py", 36, "LL401"), ("mlflow_assistant/utils/constants.py", 37, "LL401"),
    },
    "mlflow-export-import==1.2.0": {
        ("mlflow_export_import/common/model_utils.py", 14, "LL105"),
        ("mlflow_export_import/common/utils.py", 9, "LL812"),
        ("mlflow_export_import/common/model_utils.py", 25, "LL105"),
        ("mlflow_export_import/common/model_utils.py", 73, "LL105"),
        ("mlflow_export_import/model/import_model.py", 69, "LL105"),
    },
    "mlflow-faculty==0.5.0": {("mlflow_faculty/converters.py", 131, "LL201"), ("tests/fixtures.py", 125, "LL201")},
    "pycaret==3.3.2": {
        ("pycaret/loggers/mlflow_logger.py", 166, "LL807"), ("pycaret/loggers/mlflow_logger.py", 168, "LL203"),
    },
    "pytorch-lightning==2.6.6": {
        ("pytorch_lightning/loggers/mlflow.py", 153, "LL801"), ("pytorch_lightning/loggers/mlflow.py", 171, "LL801"),
    },
    "claudetracing==0.6.1": set(),
    "darts==0.48.1": {("darts/utils/mlflow.py", 502, "LL203")},
    "databricks-automl-runtime==0.2.21": {("databricks/automl_runtime/forecast/model.py", 65, "LL203")},
    "datarobot-mlflow==0.1.dev2": {("datarobot_mlflow/dr_mlflow_integration.py", 37, "LL812")},
    "deep-learning-mlflow==0.0.16": {
        ("dl_mlflow/callbacks/mlflow.py", 277, "LL801"), ("dl_mlflow/trackers/mlflow.py", 83, "LL801"),
    },
    "environment-mlflow-client==3.0.2": {
        ("environment_mlflow_client/env_mlflow_client.py", 70, "LL105"),
        ("environment_mlflow_client/env_mlflow_client.py", 188, "LL105"),
    },
    "getml-mlflow==0.1.2": set(),
    "iapytoo==0.1.2": {("iapytoo/mlflow/model.py", 344, "LL203")},
    "keynet-train==0.8.5": {
        ("keynet_train/clients/onnx.py", 272, "LL203"), ("keynet_train/clients/torch.py", 118, "LL807"),
        ("keynet_train/clients/torch.py", 120, "LL203"), ("keynet_train/decorators/onnx.py", 135, "LL203"),
        ("keynet_train/decorators/pytorch.py", 611, "LL807"), ("keynet_train/decorators/pytorch.py", 613, "LL203"),
    },
    "langchain-community==0.4.2": {
        ("langchain_community/callbacks/mlflow_callback.py", 246, "LL203"),
        ("langchain_community/chat_models/mlflow_ai_gateway.py", 113, "LL101"),
        ("langchain_community/embeddings/mlflow_gateway.py", 66, "LL101"),
        ("langchain_community/llms/mlflow_ai_gateway.py", 98, "LL101"),
    },
    "mlflow-tritonserver==1.1.0": {
        ("mlflow_tritonserver/deployments.py", 577, "LL809"), ("mlflow_tritonserver/triton_flavor.py", 79, "LL203"),
    },
    "mlflow-xgboost-proba==0.3.1": {("mlflow_xgboost_proba/__init__.py", 119, "LL203")},
    "mlpype-mlflow==0.6.13": {("mlpype/mlflow/logger/mlflow_logger.py", 159, "LL203")},
    "skorch==1.4.0": {("skorch/tests/callbacks/test_logging.py", 1196, "LL801")},
    "zenml==0.98.0": {
        ("zenml/integrations/mlflow/model_registries/mlflow_model_registry.py", 610, "LL105"),
        ("zenml/integrations/mlflow/services/mlflow_deployment.py", 269, "LL201"),
    },
}  # fmt: skip


def _fetched(requirement: str, directory: Path, *options: str) -> Path:
    words = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", *options, requirement, "-d", str(directory)]
    subprocess.run(words, check=True, capture_output=True, timeout=600, env=clean_environment())
    archive = next(each for each in directory.iterdir() if each.is_file())
    tree = directory / "tree"
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(tree)
    else:
        with tarfile.open(archive) as opened:
            opened.extractall(tree, filter="data")
    return tree


@pytest.mark.soak
@pytest.mark.release
def test_labelled_packages(tmp_path: Path) -> None:
    right = wrong = missed = 0
    said = []
    for number, (requirement, labels) in enumerate(LABELLED.items()):
        (tmp_path / str(number)).mkdir()
        tree = _fetched(requirement, tmp_path / str(number), "--only-binary", ":all:")
        result = scan([tree], load(), Release(version="1.30.1"), Release(version="3.17.2"))
        found = {(each.path, each.line, each.code) for each in result.findings if each.code != "LL207"}
        right += len(found & labels)
        wrong += len(found - labels)
        missed += len(labels - found)
        said += [f"{requirement}: not in the labels {each}" for each in sorted(found - labels)]
        said += [f"{requirement}: missed {each}" for each in sorted(labels - found)]
    print(f"{right} right, {wrong} wrong, {missed} missed", *said, sep="\n")
    assert right / (right + wrong) >= 0.98 and right / (right + missed) >= 0.95, said


@pytest.mark.soak
@pytest.mark.release
@pytest.mark.parametrize("version", ["1.30.1", "2.9.2", "2.22.5", "3.4.0"])
def test_nothing_is_broken_in_mlflow_itself(version: str, tmp_path: Path) -> None:
    """A release scanned as itself: no name it uses is missing in it, but for a loader of a module that is not there."""
    tree = _fetched(f"mlflow=={version}", tmp_path, "--only-binary", ":all:")
    release = Release(version=version)
    result = scan([tree], load(), release, release)
    broken = Counter(each.symbol for each in result.findings if each.breaking and not each.path.endswith(".md"))
    print(broken)
    assert result.scanned > 200
    assert not any(each.verdict is Verdict.BREAKS for each in result.findings)
    # Two names that 3.x imports where people may take them from, and does not export.
    known = {"mlflow.llm", "mlflow.types.responses.Message", "mlflow.types.responses.OutputItem"}
    assert set(broken) <= known
