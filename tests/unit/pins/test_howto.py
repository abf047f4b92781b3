"""The commands of docs/how-to/bump-a-repository.md, run in order on the repositories of its two stories."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from tests.support.pins_tree import BY_PATH, contents, write

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "bump-a-repository.md"
COMMANDS = [
    shlex.split(line.removeprefix("$ liftlock pin "))
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


@pytest.mark.parametrize("story", [forgotten, half_updated])
def test_the_page_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: object) -> None:
    write(tmp_path, ())
    assert callable(story)
    story(tmp_path)
    before = contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(COMMANDS) == 6
    digest = next(words for words in COMMANDS if "--image-digest" in words)[-2:]
    statuses = []
    for words in COMMANDS:
        if words != ["--undo"]:
            # the index is another test's; a story with a digest needs it from the start
            words = [*(word for word in words if word != "--support"), "--offline", *digest]
        result = CliRunner().invoke(command, words, standalone_mode=False)
        assert result.exception is None, (words, result.exception)
        statuses.append(result.return_value)
        if "--check" in words:
            assert not any(b"2.9" in data or b"3.6" in data or b"2.8" in data for data in contents(tmp_path).values()
                           if b"open since 2.9.2" not in data), contents(tmp_path)  # fmt: skip
    assert set(statuses) <= {0, 1} and statuses[-1] == 0
    assert contents(tmp_path) == before
