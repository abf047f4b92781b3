"""Notebooks: cells together, magics, places in the raw file."""

import json
from pathlib import Path

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.run import scan
from liftlock.scan.surfaces.notebook import read
from tests.support.scan import codes, findings, spans


def _notebook(*cells: str | tuple[str, str], indent: int | None = 1) -> str:
    made = []
    for cell in cells:
        kind, source = cell if isinstance(cell, tuple) else ("code", cell)
        made.append({"cell_type": kind, "metadata": {"source": ["x"]}, "outputs": [{"text": ["{[\"\\n"]}],
                     "source": source.splitlines(keepends=True)})  # fmt: skip
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4}, indent=indent)


def test_names_of_an_earlier_cell() -> None:
    text = _notebook("import mlflow\nclient = mlflow.MlflowClient()", "client.list_experiments()")
    assert codes(text, "a.ipynb") == ["LL101"]
    assert spans(text, "a.ipynb") == ["list_experiments"]


def test_on_one_line_with_escapes() -> None:
    text = _notebook('import mlflow\nx = "\té"\nmlflow.list_experiments()', indent=None)
    assert spans(text, "a.ipynb") == ["list_experiments"]


def test_magics_and_shell() -> None:
    text = _notebook(
        "%pip install mlflow\n!mlflow experiments list\nimport mlflow\n%time mlflow.log_metric('a', 1)\nx?",
        "%%bash\nmlflow models list",
        "%%sql\nselect 1",
        "%%time\nmlflow.list_experiments()",
        ("markdown", "```bash\nmlflow db upgrade x --verbose\n```"),
    )
    assert sorted(codes(text, "a.ipynb")) == ["LL101", "LL301", "LL302", "LL305"]


def test_a_cell_that_is_not_python_hides_only_itself() -> None:
    text = _notebook("import mlflow", "this is not ( python", "mlflow.list_experiments()")
    assert codes(text, "a.ipynb") == ["LL101"]


def test_run_brings_names(tmp_path: Path) -> None:
    (tmp_path / "Common.ipynb").write_text(_notebook("import mlflow\nclient = mlflow.MlflowClient()"))
    (tmp_path / "Main.ipynb").write_text(_notebook("%run ./Common", "client.list_experiments()  # mlflow"))
    result = scan([tmp_path], load(), Release(version="2.9.2"), Release(version="3.17.2"))
    assert [(each.path, each.code) for each in result.findings] == [("Main.ipynb", "LL101")]


def test_what_is_no_notebook() -> None:
    for text in ("", "[]", "{}", '{"cells": 1}', "mlflow"):
        try:
            read(text)
        except ValueError:
            continue
        assert text == '{"cells": 1}' or text == "[]"
    assert findings('{"mlflow": "nothing"}', "a.ipynb") == ()
