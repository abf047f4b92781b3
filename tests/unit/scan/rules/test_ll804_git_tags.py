"""Tags that are no longer written."""

from tests.support.scan_rules import rule_tests

HITS = {
    "python": (
        "a.py",
        """
import mlflow
run = mlflow.get_run("x")
run.data.tags["mlflow.gitRepoURL"]  # expect mlflow.gitRepoURL
mlflow.search_runs(filter_string="tags.mlflow.gitBranchName = 'main'")  # expect mlflow.gitBranchName
""",
    ),
    "configuration": ("a.yaml", "mlflow:\n  tag: mlflow.gitBranchName  # expect mlflow.gitBranchName\n"),
}
SILENT = {
    "the new tag": ("a.py", "import mlflow\nmlflow.get_run('x').data.tags['mlflow.source.git.branch']\n"),
    "a longer word": ("a.py", "import mlflow\nX = 'mlflow.gitBranchNames'\n"),
    "a docstring": ("a.py", 'def f():\n    """mlflow.gitRepoURL"""\nimport mlflow\n'),
    "a comment": ("a.py", "import mlflow  # mlflow.gitRepoURL\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL804", HITS, SILENT)
