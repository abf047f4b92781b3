"""A tracking or registry store in plain files."""

from tests.support.scan_rules import rule_tests

HITS = {
    "python": (
        "a.py",
        """
import os
from pathlib import Path
import mlflow
from mlflow import MlflowClient
mlflow.set_tracking_uri("file:./mlruns")  # expect "file:./mlruns"
mlflow.set_registry_uri(uri="/srv/registry")  # expect "/srv/registry"
MlflowClient(tracking_uri="./mlruns")  # expect "./mlruns"
MlflowClient("http://x", "file:///r")  # expect "file:///r"
mlflow.tracking.set_tracking_uri(f"file://{os.getcwd()}/mlruns")  # expect f"file://{os.getcwd()}/mlruns"
mlflow.set_tracking_uri(os.path.join(os.getcwd(), "mlruns"))  # expect os.path.join(os.getcwd(), "mlruns")
mlflow.set_tracking_uri(Path("runs").absolute().as_uri())  # expect Path("runs").absolute().as_uri()
ROOT = Path(__file__).parent
mlflow.set_tracking_uri(str(ROOT / "mlruns"))  # expect str(ROOT / "mlruns")
URI = "file:runs"
mlflow.set_tracking_uri(URI)  # expect URI
os.environ["MLFLOW_TRACKING_URI"] = "file:./mlruns"  # expect "file:./mlruns"
os.environ.setdefault("MLFLOW_TRACKING_URI", "./mlruns")  # expect "./mlruns"
os.environ.get("MLFLOW_TRACKING_URI", "mlruns")  # expect "mlruns"
def make(uri=None, root="./x"):
    if not uri:
        uri = f"file:{root}"
    return MlflowClient(uri)  # expect uri
run(env={"MLFLOW_TRACKING_URI": "file:/x"})  # expect "file:/x"
def either(given, config):
    uri = given or config.get("uri") or "./mlruns"
    mlflow.set_tracking_uri(uri)  # expect uri
    mlflow.set_tracking_uri("file:./mlruns" if given else "http://x")  # expect "file:./mlruns" if given else "http://x"
def default(uri="file:./mlruns"): MlflowClient(uri)  # expect uri
class Settings:
    uri: str = os.getenv("TRACKING", "file:./mlruns")
    def __init__(self, place="./mlruns"):
        self.place = place
    def go(self):
        mlflow.set_tracking_uri(self.place)  # expect self.place
mlflow.set_tracking_uri(Settings().uri)  # expect Settings().uri
def place(config): return config.get("uri") or "./mlruns"
mlflow.set_tracking_uri(place({}))  # expect place({})
""",
    ),
    "a fixture's path": (
        "test_a.py",
        """
import mlflow
def test_x(tmp_path, monkeypatch):
    mlflow.set_tracking_uri(str(tmp_path / "x"))  # expect str(tmp_path / "x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:/x")  # expect "file:/x"
""",
    ),
    "the logger of Lightning": (
        "a.py",
        """
from pytorch_lightning.loggers import MLFlowLogger
MLFlowLogger(experiment_name="x", tracking_uri="file:./ml-runs")  # expect "file:./ml-runs"
""",
    ),
    "commands": (
        "a.sh",
        """
mlflow server --backend-store-uri ./mlruns --port 1  # expect --backend-store-uri
mlflow ui --backend-store-uri=file:///data  # expect --backend-store-uri=file:///data
mlflow gc --backend-store-uri /data/mlruns  # expect --backend-store-uri
export MLFLOW_TRACKING_URI=file:./mlruns  # expect file:./mlruns
MLFLOW_TRACKING_URI="./mlruns" python train.py  # expect ./mlruns
""",
    ),
    "compose": (
        "compose.yaml",
        """
services:
  mlflow:
    command: ["mlflow", "server", "--backend-store-uri", "/mlruns"]  # expect "--backend-store-uri"
    environment:
      MLFLOW_TRACKING_URI: file:/mlruns  # expect file:/mlruns
""",
    ),
    "kubernetes": (
        "a.yaml",
        """
env:
  - name: MLFLOW_TRACKING_URI
    value: file:///mlruns  # expect file:///mlruns
""",
    ),
    "image": ("Dockerfile", "FROM x\nENV MLFLOW_TRACKING_URI=file:/mlruns  # expect file:/mlruns\n"),
    "environment file": (".env", "MLFLOW_TRACKING_URI=./mlruns  # expect ./mlruns\n"),
}
SILENT = {
    "a server": ("a.py", "import mlflow\nmlflow.set_tracking_uri('http://localhost:5000')\n"),
    "a database": ("a.py", "import mlflow\nmlflow.set_tracking_uri('sqlite:///mlflow.db')\n"),
    "PostgreSQL": ("a.py", "import mlflow\nmlflow.set_tracking_uri('postgresql+psycopg://u@h/d')\n"),
    "Databricks": ("a.py", "import mlflow\nmlflow.set_tracking_uri('databricks://profile')\nmlflow.set_registry_uri('databricks-uc')\n"),
    "from the environment": ("a.py", "import os, mlflow\nmlflow.set_tracking_uri(os.environ['X'])\n"),
    "nothing known": ("a.py", "import mlflow\ndef f(uri):\n    mlflow.set_tracking_uri(uri)\n"),
    "the default": ("a.py", "import mlflow\nmlflow.set_tracking_uri('')\nmlflow.set_tracking_uri(None)\n"),
    "a host": ("a.py", "import mlflow\nmlflow.set_tracking_uri(f'{host}:5000')\nmlflow.set_registry_uri('host:1')\n"),
    "bound twice": ("a.py", "import mlflow\nu = f()\nu = g()\nmlflow.set_tracking_uri(u)\n"),
    "artifacts in files are no store": ("a.py", "import mlflow\nmlflow.create_experiment('x', artifact_location='file:///a')\n"),
    "artifact root": ("a.sh", "mlflow server --backend-store-uri sqlite:///x.db --default-artifact-root ./mlruns\n"),
    "allowed": ("a.sh", "export MLFLOW_ALLOW_FILE_STORE=true\nmlflow server --backend-store-uri ./mlruns\n"),
    "a variable": ("a.sh", 'mlflow server --backend-store-uri "$STORE"\n'),
    "a template": ("a.yaml", "args: [mlflow, server, --backend-store-uri, '{{ .Values.store }}']\n"),
    "a comment": ("a.sh", "# export MLFLOW_TRACKING_URI=file:./mlruns\nmlflow --version\n"),
    "an address in the environment": (".env", "MLFLOW_TRACKING_URI=http://mlflow:5000\n"),
    "a docstring": ("a.py", '"""mlflow.set_tracking_uri("file:x")"""\nimport mlflow\n'),
    "another variable": ("a.py", "import os, mlflow\nos.environ['DATA_URI'] = 'file:./data'\n"),
}  # fmt: skip
test_found, test_silent, test_releases, test_number = rule_tests("LL801", HITS, SILENT)
