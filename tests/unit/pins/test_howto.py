"""The commands of docs/how-to/bump-a-repository.md, run in order on the repositories of its two stories."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.main import cli
from tests.support.pins_tree import BY_PATH, contents, write

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "bump-a-repository.md"
COMMANDS = [
    shlex.split(line.removeprefix("$ liftlock "))
    for block in re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    for line in block.splitlines()
]


def forgotten(root: Path) -> None:
    """The first story: the sources were bumped, everything beside them was not."""
    (root / "requirements.in").write_text("mlflow==3.4.0\n")
    (root / "requirements.txt").write_text("mlflow==2.9.0\nsix==1.16.0\n")
    (root / "requirements-all.txt").write_text("mlflow==2.9.0\n")
    (root / "platform").mkdir()
    (root / "platform/pyproject.toml").write_text('[project]\nname = "p"\ndependencies = ["mlflow>=2.8.1"]\n')
    (root / "cli").mkdir()
    (root / "cli/requirements.txt").write_text("mlflow>=1.20.0\n")


def half_updated(root: Path) -> None:
    """The second: the tracking file says one version, the image another, from a registry the script did not know."""
    write(root, (BY_PATH["config/mlflow_release.yaml"], BY_PATH["SECURITY.md"]))
    (root / "requirements.txt").write_bytes(b"mlflow==3.6.0\r\n")
    (root / "deployment/mlflow").mkdir(parents=True)
    digest = "a" * 64
    (root / "deployment/mlflow/Dockerfile").write_text(f"FROM ghcr.io/mlflow/mlflow:v3.6.0@sha256:{digest}\n")


@pytest.mark.parametrize(
    ("story", "index"),
    [
        (forgotten, False), (half_updated, False),
        # with the real package index: does the version exist, hashes, and do the other pins allow it
        pytest.param(forgotten, True, marks=pytest.mark.soak), pytest.param(half_updated, True, marks=pytest.mark.soak),
    ],
)  # fmt: skip
def test_the_page_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: Callable[[Path], None], index: bool
) -> None:
    write(tmp_path, ())
    story(tmp_path)
    # the code of the first story: what its authors searched for by name, and one call that really is gone
    (tmp_path / "train.py").write_text("import mlflow\nbaseline_model = 1\nmlflow.MlflowClient().list_experiments()\n")
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert [words[0] for words in COMMANDS] == ["pin", "pin", "scan", "pin", "pin", "pin", "pin"]
    digest = next(words for words in COMMANDS if "--image-digest" in words)[-2:]
    statuses = {}
    for words in COMMANDS:
        shown = shlex.join(words)
        if words[0] == "pin" and words != ["pin", "--undo"]:
            # a story with a digest needs it from the start
            words = [*words, *digest] if index else [*(w for w in words if w != "--support"), "--offline", *digest]
        result = CliRunner().invoke(cli, words, standalone_mode=False)
        assert result.exception is None, (words, result.exception)
        statuses[shown] = result.return_value
        if words[0] == "scan":
            assert "train.py:3" in result.stdout and "baseline_model" not in result.stdout
        if "--support" in words:
            assert "resolves: requirements.txt" in result.stdout
        if "--check" in words:
            assert not any(b"2.9" in data or b"3.6" in data or b"2.8" in data for data in contents(tmp_path).values()
                           if b"open since 2.9.2" not in data), contents(tmp_path)  # fmt: skip
    assert set(statuses.values()) <= {0, 1} and statuses["pin --undo"] == 0
    # the status in SECURITY.md's row says since when it is open: that is told, and a person decides
    assert statuses["pin 3.17.2 --check --old 2.9.2"] == (1 if story is half_updated else 0)
    assert statuses["scan --from 2.9.2 --to 3.17.2"] == 1
    assert contents(tmp_path) == before
