"""Notebooks of Databricks exported as source: the language of each cell, and the notebooks they run."""

from pathlib import Path

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.fix import apply
from liftlock.scan.run import scan
from tests.support.scan import check_sample, findings

NOTEBOOK = """# Databricks notebook source
# MAGIC %md
# MAGIC Run `mlflow experiments list` or  # expect LL301
# MAGIC ```
# MAGIC mlflow run . --no-conda  # expect LL304
# MAGIC ```

# COMMAND ----------

import mlflow
mlflow.list_experiments()  # expect LL101

# COMMAND ----------

# MAGIC %python
# MAGIC with mlflow.start_run() as run:
# MAGIC     print(run.info.run_uuid)  # expect LL103

# COMMAND ----------

# MAGIC %sh mlflow experiments list  # expect LL301

# COMMAND ----------

# MAGIC %sh
# MAGIC cd /tmp
# MAGIC mlflow run . --no-conda  # expect LL304

# COMMAND ----------

# MAGIC %pip install mlflow==2.9.2  # expect LL601

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT mlflow.list_experiments()
"""


def test_cells() -> None:
    check_sample(NOTEBOOK, "notebook.py")


def test_a_notebook_of_another_language_holds_python() -> None:
    text = "-- Databricks notebook source\nSELECT 1\n-- COMMAND ----------\n-- MAGIC %python\n-- MAGIC import mlflow\n"
    text += "-- MAGIC mlflow.list_experiments()\n"
    assert [(each.code, each.line, each.column) for each in findings(text, "a.sql")] == [("LL101", 6, 17)]
    assert findings("SELECT 'mlflow.list_experiments()'\n", "a.sql") == ()


def test_what_stands_in_a_magic_cell_is_changed_there() -> None:
    found = [each for each in findings(NOTEBOOK, "notebook.py") if each.code == "LL103"]
    fixed = apply(NOTEBOOK, [edit for each in found for edit in each.edits])
    assert fixed == NOTEBOOK.replace("run_uuid", "run_id")


def test_notebooks_that_run_each_other(tmp_path: Path) -> None:
    head = "# Databricks notebook source\n# MAGIC %run ./{}\n\n# COMMAND ----------\n\n"
    (tmp_path / "a.py").write_text(head.format("b") + "import mlflow\nclient = mlflow.MlflowClient()\n")
    (tmp_path / "b.py").write_text(head.format("a") + "# mlflow\nclient.list_experiments()\nnothing()\n")
    result = scan([tmp_path], load(), Release(version="2.9.2"), Release(version="3.17.2"))
    assert [(each.path, each.line, each.confidence.value) for each in result.findings] == [("b.py", 7, "certain")]
    assert result.skipped == {}
