"""evaluate() without being asked for the explainer."""

from tests.support.scan_rules import rule_tests

HITS = {
    "classifier": (
        "a.py",
        """
import mlflow
mlflow.evaluate("m", d, targets="y", model_type="classifier")  # expect evaluate
mlflow.models.evaluate("m", d, model_type="regressor", evaluator_config={"a": 1})  # expect evaluate
""",
    ),
}
SILENT = {
    "asked": (
        "a.py",
        "import mlflow\nmlflow.evaluate('m', d, model_type='classifier', evaluator_config={'log_explainer': 1})\n",
    ),
    "no explanations": (
        "a.py",
        "import mlflow\nC = {'log_explainer': 0}\nmlflow.evaluate(1, model_type='regressor', evaluator_config=C)\n",
    ),
    "text": ("a.py", "import mlflow\nmlflow.evaluate('m', d, model_type='question-answering')\n"),
    "not known": ("a.py", "import mlflow\nmlflow.evaluate('m', d, model_type=kind, **more)\n"),
    "another": ("a.py", "import mlflow\nmlflow.genai.evaluate(d, model_type='classifier')\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL806", HITS, SILENT)
