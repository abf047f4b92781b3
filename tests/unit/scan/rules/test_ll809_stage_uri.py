"""Model URIs that end in a stage."""

from pathlib import Path

from tests.support.scan import findings
from tests.support.scan_rules import rule_tests

HITS = {
    "python": (
        "a.py",
        """
import mlflow
mlflow.pyfunc.load_model("models:/m/Production")  # expect /Production
mlflow.pyfunc.load_model(f"models:/{name}/staging")  # expect /staging
mlflow.pyfunc.load_model("models:/m/Archived")  # expect /Archived
""",
    ),
    "shell": ("a.sh", "mlflow models serve -m models:/m/Production -p 1  # expect /Production\n"),
}
SILENT = {
    "a version": ("a.py", "import mlflow\nmlflow.pyfunc.load_model('models:/m/1')\n"),
    "the latest": ("a.py", "import mlflow\nmlflow.pyfunc.load_model('models:/m/latest')\n"),
    "an alias": ("a.py", "import mlflow\nmlflow.pyfunc.load_model('models:/m@production')\n"),
    "not known": ("a.py", "import mlflow\nmlflow.pyfunc.load_model(f'models:/{name}/{stage}')\n"),
    "a path": ("a.py", "import mlflow\nX = 's3://models/m/Production'\nY = 'models:/m/production-2'\n"),
}
test_found, test_silent, test_releases, test_number = rule_tests("LL809", HITS, SILENT)


def test_the_edit_is_the_alias_and_needs_to_be_asked_for(tmp_path: Path) -> None:
    text = 'import mlflow\nmlflow.pyfunc.load_model(f"models:/{name}/Production")\n'
    edit = findings(text)[0].edits[0]
    assert not edit.safe
    assert (text[: edit.start] + edit.text + text[edit.end :]).endswith('models:/{name}@production")\n')
    assert findings(text.replace("Production", "Archived"))[0].edits == ()
