"""The tag that listed the models of a run."""

from tests.support.scan_rules import rule_tests

HITS = {
    "python": (
        "a.py",
        """
import json, mlflow
KEY = "mlflow.log-model.history"  # expect mlflow.log-model.history
history = json.loads(mlflow.get_run("x").data.tags["mlflow.log-model.history"])  # expect mlflow.log-model.history
""",
    ),
}
SILENT = {
    "the outputs of a run": ("a.py", "import mlflow\nmlflow.get_run('x').outputs.model_outputs\n"),
    "a longer word": ("a.py", "import mlflow\nX = 'mlflow.log-model.history2'\n"),
    "a comment": ("a.py", "import mlflow  # mlflow.log-model.history\n"),
    "a docstring": ("a.py", 'import mlflow\ndef f():\n    """mlflow.log-model.history"""\n'),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL812", HITS, SILENT)
