"""Models saved without saying how."""

from tests.support.scan_rules import rule_tests

HITS = {
    "flavors": (
        "a.py",
        """
import mlflow
import mlflow.pytorch as mp
from mlflow.sklearn import save_model
mlflow.sklearn.log_model(m, name="m")  # expect log_model
mp.log_model(m, name="m")  # expect log_model
save_model(m, "p")  # expect save_model
from mlflow.sklearn import log_model as keep
keep(m, name="m")  # expect keep
""",
    ),
}
SILENT = {
    "said": ("a.py", "import mlflow\nmlflow.sklearn.log_model(m, name='m', serialization_format='cloudpickle')\n"),
    "not seen": ("a.py", "import mlflow\nmlflow.sklearn.log_model(m, **options)\n"),
    "another flavor": ("a.py", "import mlflow\nmlflow.xgboost.log_model(m, name='m')\n"),
    "an own function": ("a.py", "import mlflow\ndef log_model(m): ...\nlog_model(m)\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL807", HITS, SILENT)
