"""Fixes: what may be changed, what may not, and that all of a file is kept."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.fix import apply, prepare, write
from liftlock.scan.model import Edit, ScanFinding
from liftlock.scan.run import scan, scan_text

_OLD, _NEW = Release(version="2.9.2"), Release(version="3.17.2")


def _fix(tmp_path: Path, name: str, text: bytes, *, unsafe: bool = False) -> bytes:
    (tmp_path / name).write_bytes(text)

    def rescan(path: str, content: str) -> Sequence[ScanFinding]:
        return scan_text(path, content, load(), _OLD, _NEW)

    result = scan([tmp_path], load(), _OLD, _NEW)
    write(tmp_path, prepare(tmp_path, result.findings, rescan, unsafe=unsafe))
    return (tmp_path / name).read_bytes()


PYTHON = [
    ("mlflow.list_experiments()", "mlflow.search_experiments()"),
    ("mlflow.MlflowClient().list_registered_models(max_results=5)",
     "mlflow.MlflowClient().search_registered_models(max_results=5)"),
    ("mlflow.models.evaluate('m', custom_metrics = [f])", "mlflow.models.evaluate('m', extra_metrics = [f])"),
    ("mlflow.active_run().info.run_uuid", "mlflow.active_run().info.run_id"),
    ("mlflow.pyfunc.log_model('m', python_model=f)", "mlflow.pyfunc.log_model(name='m', python_model=f)"),
    ("mlflow.sklearn.log_model(f, 'm')", "mlflow.sklearn.log_model(f, name='m')"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), PYTHON)
def test_renames(tmp_path: Path, before: str, after: str) -> None:
    head = "import mlflow\nf = 1  # keep\n"
    fixed = _fix(tmp_path, "a.py", (head + before + "\n").encode())
    assert fixed.decode() == head + after + "\n"
    assert _fix(tmp_path, "a.py", fixed) == fixed


@pytest.mark.parametrize("line", [
    "mlflow.list_run_infos('0')",  # gives something else
    "mlflow.list_experiments(1, 2, 3)",  # arguments whose places differ
    "f = mlflow.list_experiments",  # called nobody knows how
    "mlflow.models.evaluate('m', custom_metrics=[f], extra_metrics=[f])",  # would be given twice
    "mlflow.models.evaluate('m', baseline_model=f)",  # nothing replaces it
    "mlflow.sklearn.log_model(f, 'm', None)",  # a positional argument behind it
])  # fmt: skip
def test_left_alone(tmp_path: Path, line: str) -> None:
    text = f"import mlflow\n{line}\n".encode()
    assert _fix(tmp_path, "a.py", text) == text


def test_line_ends_encoding_and_notebook_are_kept(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf# caf\xc3\xa9\r\nimport mlflow\r\nmlflow.list_experiments()\r\n"
    assert _fix(tmp_path, "a.py", text) == text.replace(b"list_e", b"search_e")
    latin = b"# caf\xe9\nimport mlflow\nmlflow.list_experiments()"
    assert _fix(tmp_path, "b.py", latin) == latin.replace(b"list_e", b"search_e")
    book = b'{"cells": [{"cell_type": "code", "source": ["import mlflow\\n", "mlflow.list_experiments()"], "x":1}]}'
    assert _fix(tmp_path, "c.ipynb", book) == book.replace(b"list_e", b"search_e")


def test_commands_and_endpoints(tmp_path: Path) -> None:
    text = b"mlflow experiments list\nmlflow run . --no-conda -P a=1\ncurl $H/api/2.0/mlflow/registered-models/list\n"
    assert _fix(tmp_path, "a.sh", text) == (
        b"mlflow experiments search\nmlflow run . --env-manager local -P a=1\n"
        b"curl $H/api/2.0/mlflow/registered-models/search\n"
    )


STRINGS = [
    ('os.system("mlflow experiments list")', 'os.system("mlflow experiments search")'),
    ("subprocess.run(['mlflow', 'run', '.', '--no-conda', '-P', 'a=1'])",
     "subprocess.run(['mlflow', 'run', '.', '--env-manager', 'local', '-P', 'a=1'])"),
    ('subprocess.run(["mlflow", "experiments", "list"])', 'subprocess.run(["mlflow", "experiments", "search"])'),
    ('run(f"cd {x} && mlflow run . --no-conda")', 'run(f"cd {x} && mlflow run . --env-manager local")'),
    ('get(f"{h}/api/2.0/preview/mlflow/runs/get")', 'get(f"{h}/api/2.0/mlflow/runs/get")'),
    ('get(h + "/api/2.0/preview/mlflow/registered-models/list")',
     'get(h + "/api/2.0/mlflow/registered-models/search")'),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), STRINGS)
def test_commands_and_endpoints_in_python(tmp_path: Path, before: str, after: str) -> None:
    head = "import mlflow, os, subprocess\n"
    fixed = _fix(tmp_path, "a.py", f"{head}{before}\n".encode())
    assert fixed.decode() == f"{head}{after}\n"
    assert _fix(tmp_path, "a.py", fixed) == fixed


@pytest.mark.parametrize("line", [
    'os.system("mlflow experiments " "list")',  # in pieces
    'os.system("mlflow experiments list --foo 1")',  # the new command has no such option
    'print("mlflow run . --no-conda")',  # only told
    "subprocess.run(['mlflow', 'run', '.', f'--no-conda'])",
])  # fmt: skip
def test_strings_left_alone(tmp_path: Path, line: str) -> None:
    text = f"import mlflow, os, subprocess\n{line}\n".encode()
    assert _fix(tmp_path, "a.py", text) == text


def test_an_element_of_a_list_stays_one_word(tmp_path: Path) -> None:
    text = b"services:\n  a:\n    command:\n      - mlflow\n      - run\n      - .\n      - --no-conda\n"
    assert _fix(tmp_path, "compose.yaml", text) == text.replace(b"--no-conda", b"--env-manager=local")
    text = b'FROM x\nRUN ["mlflow", "experiments", "list"]\nCMD ["mlflow", "run", ".", "--no-conda"]\n'
    fixed = text.replace(b"list", b"search").replace(b"--no-conda", b"--env-manager=local")
    assert _fix(tmp_path, "Dockerfile", text) == fixed


MOVES = [
    ("from mlflow.langchain import get_default_conda_env\nget_default_conda_env()\n",
     "from mlflow.langchain.model import get_default_conda_env\nget_default_conda_env()\n"),
    ("if 1:\n    from mlflow.openai import log_model, get_default_conda_env as env, autolog\n",
     "if 1:\n    from mlflow.openai.model import get_default_conda_env as env\n"
     "    from mlflow.openai import log_model, autolog\n"),
    ("from mlflow.dspy import (\n    log_model,\n    get_default_conda_env,\n    get_default_pip_requirements,\n)\n",
     "from mlflow.dspy.save import get_default_conda_env\nfrom mlflow.dspy.save import get_default_pip_requirements\n"
     "from mlflow.dspy import (\n    log_model,\n)\n"),
    ("import mlflow\nmlflow.openai.get_default_conda_env()\n",
     "import mlflow\nmlflow.openai.model.get_default_conda_env()\n"),
    ("from mlflow.keras_core import log_model\n", "from mlflow.keras import log_model\n"),
    ("import mlflow.keras_core as k\nk.autolog()\n", "import mlflow.keras as k\nk.autolog()\n"),
    ("import mlflow.keras_core\nmlflow.keras_core.autolog()\n", "import mlflow.keras\nmlflow.keras.autolog()\n"),
    ("from mlflow import keras_core\nkeras_core.autolog()\n", "from mlflow import keras\nkeras.autolog()\n"),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), MOVES)
def test_imports_of_what_moved(tmp_path: Path, before: str, after: str) -> None:
    fixed = _fix(tmp_path, "a.py", before.encode())
    assert fixed.decode() == after
    assert _fix(tmp_path, "a.py", fixed) == fixed


STAGES = [
    ('c.transition_model_version_stage("m", "1", "Production")',
     'c.set_registered_model_alias("m", "production", "1")'),
    ("c.transition_model_version_stage(\n    name=n,\n    version=v,\n    stage='Staging',\n"
     "    archive_existing_versions=True,\n)",
     "c.set_registered_model_alias(\n    name=n,\n    version=v,\n    alias='staging',\n)"),
    ('c.transition_model_version_stage(n, v, stage="Production")',
     'c.set_registered_model_alias(n, version=v, alias="production")'),
    ('v = c.get_latest_versions(n, stages=["Production"])[0].version',
     'v = c.get_model_version_by_alias(n, alias="production").version'),
    ('v = c.get_latest_versions("m", ["Staging"])[0]', 'v = c.get_model_version_by_alias("m", "staging")'),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after"), STAGES)
def test_stages_become_aliases_only_when_asked(tmp_path: Path, before: str, after: str) -> None:
    head = "import mlflow\nc = mlflow.MlflowClient()\n"
    text = f"{head}{before}\n".encode()
    assert _fix(tmp_path, "a.py", text) == text
    fixed = _fix(tmp_path, "a.py", text, unsafe=True)
    assert fixed.decode() == f"{head}{after}\n"
    assert _fix(tmp_path, "a.py", fixed, unsafe=True) == fixed


@pytest.mark.parametrize("line", [
    'c.transition_model_version_stage("m", "1", "Archived")',
    'x = c.transition_model_version_stage("m", "1", "Staging")',
    'c.transition_model_version_stage("m", "1", stage)', 'c.transition_model_version_stage(**given)',
    'c.get_latest_versions("m", ["Production"])', 'c.get_latest_versions("m", ["Production", "Staging"])[0]',
    'c.get_latest_versions("m")[0]', 'c.get_latest_versions("m", ["None"])[0]',
    'c.transition_model_version_stage(archive_existing_versions=True, name=n, version=v, stage="Staging")',
])  # fmt: skip
def test_stages_that_have_no_alias(tmp_path: Path, line: str) -> None:
    text = f"import mlflow\nc = mlflow.MlflowClient()\n{line}\n".encode()
    assert _fix(tmp_path, "a.py", text, unsafe=True) == text


def test_unsafe_is_asked_for(tmp_path: Path) -> None:
    text = b"import mlflow\ndef f(client):\n    client.list_experiments()\n"
    assert _fix(tmp_path, "a.py", text) == text
    assert b"search_experiments" in _fix(tmp_path, "a.py", text, unsafe=True)


def test_a_result_that_does_not_parse_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import mlflow\nmlflow.list_experiments()\n")
    found = scan([tmp_path], load(), _OLD, _NEW).findings[0]
    from msgspec.structs import replace

    bad = replace(found, edits=(Edit(start=0, end=3, text="((("),))
    fixed = prepare(tmp_path, [bad], lambda path, text: ())
    assert "parse" in fixed[0].reason and write(tmp_path, fixed) == 0


def test_edits_that_overlap_are_made_once() -> None:
    edits = [Edit(start=0, end=3, text="x"), Edit(start=2, end=4, text="y"), Edit(start=0, end=3, text="x")]
    assert apply("abcdef", edits) == "xdef"
