"""Projects that do not say what makes their environment."""

from tests.support.scan_rules import rule_tests

HITS = {
    "shell": ("a.sh", "mlflow run . -P alpha=1  # expect run\n"),
    "python": ("a.py", "import mlflow\nmlflow.run('.', parameters={'a': 1})  # expect run\n"),
}
SILENT = {
    "said": ("a.sh", "mlflow run . --env-manager local\n"),
    "no environment": ("a.sh", "mlflow run . --no-conda\n"),
    "elsewhere": ("a.sh", "mlflow run . --backend kubernetes\n"),
    "in Python": (
        "a.py",
        "import mlflow\nmlflow.run('.', env_manager='conda')\nmlflow.projects.run('.', use_conda=False)\n",
    ),
    "not seen": ("a.py", "import mlflow\nmlflow.projects.run('.', **options)\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL810", HITS, SILENT)
