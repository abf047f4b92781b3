"""A model's place made from the artifact URI of its run."""

from tests.support.scan_rules import rule_tests

HITS = {
    "joined": (
        "a.py",
        """
import os, mlflow
run = mlflow.active_run()
mlflow.pyfunc.load_model(f"{run.info.artifact_uri}/model")  # expect f"{run.info.artifact_uri}/model"
mlflow.register_model(run.info.artifact_uri + "/model", "m")  # expect run.info.artifact_uri + "/model"
uri = os.path.join(run.info.artifact_uri, "model")
mlflow.sklearn.load_model(model_uri=uri)  # expect uri
mlflow.register_model(mlflow.get_artifact_uri("model"), "m")  # expect mlflow.get_artifact_uri("model")
""",
    ),
    "a version": (
        "a.py",
        """
from mlflow import MlflowClient
client = MlflowClient()
run = client.get_run("x")
client.create_model_version("m", source=f"{run.info.artifact_uri}/model")  # expect f"{run.info.artifact_uri}/model"
""",
    ),
}
SILENT = {
    "of the run": ("a.py", "import mlflow\nmlflow.pyfunc.load_model(f'runs:/{run_id}/model')\n"),
    "of the registry": ("a.py", "import mlflow\nmlflow.pyfunc.load_model('models:/m/1')\n"),
    "artifacts that are no models": (
        "a.py", "import mlflow\nuri = mlflow.get_artifact_uri('table.csv')\nmlflow.artifacts.load_text(uri)\n"),
    "the root": ("a.py", "import mlflow\nprint(mlflow.get_artifact_uri())\n"),
    "another library": ("a.py", "import mlflow\nfrom keras.models import load_model\nload_model(r.artifact_uri)\n"),
}  # fmt: skip
test_found, test_silent, test_releases, test_number = rule_tests("LL805", HITS, SILENT)
