"""What bad input gets: the file, the line, and nothing changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from liftlock.errors import LiftlockError
from tests.support.pins_tree import BY_PATH, NEW, contents, write


def refused(root: Path, *options: str) -> LiftlockError:
    """The error of a pin, after seeing that it changed nothing."""
    before = contents(root)
    result = CliRunner().invoke(command, [NEW, str(root), "--offline", "--yes", *options], standalone_mode=False)
    assert isinstance(result.exception, LiftlockError), result.output
    assert contents(root) == before
    return result.exception


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    write(root, (BY_PATH["requirements.txt"], BY_PATH["constraints/base.lst"], BY_PATH["Dockerfile"]))
    return root


def test_not_a_repository(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("mlflow==2.9.2\n")
    error = refused(tmp_path)
    assert error.exit_status == 3 and "is not a repository" in error.message


def test_no_directory(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, [NEW, str(tmp_path / "x")], standalone_mode=False)
    assert isinstance(result.exception, LiftlockError) and result.exception.exit_status == 2


@pytest.mark.parametrize(
    ("path", "text", "line"),
    [
        ("dev-requirements.txt", "six\n<<<<<<< HEAD\nmlflow==2.9.2\n=======\nmlflow==2.8.1\n>>>>>>> x\n", 2),
        ("pyproject.toml", '[project]\nname = \ndependencies = ["mlflow==2.9.2"]\n', 2),
        ("compose.yaml", "services:\n  a: {image: mlflow:2.9.2\n  b: 1\n", 3),
        ("setup.py", "x = (\n'mlflow==2.9.2'\n", 1),
        ("Pipfile.lock", '{"mlflow": {"version": "==2.9.2"}\n', 2),
        ("dev-requirements.txt", "mlflow==2.9.2\nsix\nmlflow==2.8.1\n", 3),
        ("a/pyproject.toml", '[project]\ndependencies = ["mlflow==2.9.2",\n "mlflow==2.8.1"]\n', 3),
        ("environment.yml", "dependencies:\n- mlflow==2.8.1\n- mlflow==2.9.2\n", 3),
        ("dev-requirements.txt", "-c constraints/base.lst\nmlflow==2.9.2 == 2\n", 2),
        ("x/requirements.txt", "mlflow>=2,!=3.17.2\n", 1),
    ],
)
def test_a_damaged_file_is_named_with_its_line(repository: Path, path: str, text: str, line: int) -> None:
    (repository / path).parent.mkdir(exist_ok=True)
    (repository / path).write_text(text)
    error = refused(repository)
    assert error.exit_status == 3
    assert error.message.startswith(f"{path}:{line}: "), error.message


def test_damage_that_has_nothing_to_do_with_mlflow_is_nobodys_business(repository: Path) -> None:
    (repository / "other.toml").write_text("x = \n")
    (repository / "compose.yaml").write_text("services: [\n")
    result = CliRunner().invoke(command, [NEW, str(repository), "--offline", "--yes"], standalone_mode=False)
    assert result.exception is None, result.exception


def test_two_files_that_one_installer_reads_together_must_agree(repository: Path) -> None:
    (repository / "constraints" / "base.lst").write_text("six\nmlflow==2.8.1\n")
    (repository / "dev-requirements.txt").write_text("-c constraints/base.lst\nmlflow==2.9.2\n")
    error = refused(repository)
    assert error.message == (
        "constraints/base.lst:2: mlflow is pinned to 2.8.1 here and to 2.9.2 at dev-requirements.txt:2"
    )


def test_different_markers_do_not_contradict(repository: Path) -> None:
    (repository / "dev-requirements.txt").write_text(
        "mlflow==2.8.1; python_version<'3.10'\nmlflow==2.9.2; python_version>='3.10'\n"
    )
    result = CliRunner().invoke(command, [NEW, str(repository), "--offline", "--yes"], standalone_mode=False)
    assert result.exception is None and "mlflow==3.17.2; python" in (repository / "dev-requirements.txt").read_text()


def test_a_read_only_file(repository: Path) -> None:
    (repository / "Dockerfile").chmod(0o444)
    assert refused(repository).message == "Dockerfile:1: read-only; nothing was changed"


def test_a_link_out_of_the_tree(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("mlflow==2.9.2\n")
    (repository / "extra-requirements.txt").symlink_to(tmp_path / "shared.txt")
    assert refused(repository).message.startswith("extra-requirements.txt:1: a symbolic link to a file outside")
    assert (tmp_path / "shared.txt").read_text() == "mlflow==2.9.2\n"


def test_a_link_inside_the_tree_changes_its_target_once(repository: Path) -> None:
    (repository / "deploy").mkdir()
    (repository / "deploy" / "Dockerfile").symlink_to("../Dockerfile")
    result = CliRunner().invoke(command, [NEW, str(repository), "--offline", "--yes"], standalone_mode=False)
    assert result.exception is None
    assert (repository / "deploy" / "Dockerfile").is_symlink()
    assert (repository / "Dockerfile").read_text() == BY_PATH["Dockerfile"].after


@pytest.mark.parametrize("version", ["x", "3.", "latest"])
def test_no_version(repository: Path, version: str) -> None:
    result = CliRunner().invoke(command, [version, str(repository)], standalone_mode=False)
    assert isinstance(result.exception, LiftlockError) and result.exception.exit_status == 2


def test_what_mlflow_recorded_and_what_is_ignored_stays(repository: Path) -> None:
    for place in ("mlruns/0/model", "models/m", "ignored"):
        (repository / place).mkdir(parents=True)
        (repository / place / "requirements.txt").write_text("mlflow==2.9.2\n")
    (repository / "models/m/MLmodel").write_text("mlflow_version: 2.9.2\n")
    (repository / ".gitignore").write_text("ignored/\n.env\n")
    (repository / ".env").write_text("MLFLOW_VERSION=2.9.2\n")
    result = CliRunner().invoke(command, [NEW, str(repository), "--offline", "--yes"], standalone_mode=False)
    assert result.exception is None and result.return_value == 0, result.output
    assert all(
        (repository / place / "requirements.txt").read_text() == "mlflow==2.9.2\n"
        for place in ("mlruns/0/model", "models/m", "ignored")
    )
    assert (repository / ".env").read_text() == "MLFLOW_VERSION=3.17.2\n", "compose reads it although Git does not"


def test_a_folder_of_a_repository_shares_its_state(repository: Path) -> None:
    (repository / "service").mkdir()
    (repository / "service" / "Dockerfile").write_text("FROM mlflow:2.9.2\n")
    before = contents(repository)
    words = [NEW, str(repository / "service"), "--offline", "--yes"]
    assert CliRunner().invoke(command, words, standalone_mode=False).exception is None
    assert {path for path, data in contents(repository).items() if data != before[path]} == {"service/Dockerfile"}
    result = CliRunner().invoke(command, ["--undo", str(repository)], standalone_mode=False)
    assert result.exception is None and contents(repository) == before


def test_a_plain_directory_is_walked(tmp_path: Path) -> None:
    write(tmp_path, (BY_PATH["Dockerfile"],))
    shutil.rmtree(tmp_path / ".git")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "requirements.txt").write_text("mlflow==2.9.2\n")
    words = [NEW, str(tmp_path), "--offline", "--yes", "--plain-directory"]
    result = CliRunner().invoke(command, words, standalone_mode=False)
    assert result.exception is None and (tmp_path / "Dockerfile").read_text() == BY_PATH["Dockerfile"].after
    assert (tmp_path / ".venv" / "requirements.txt").read_text() == "mlflow==2.9.2\n"
    assert (tmp_path / ".liftlock" / ".gitignore").read_text() == "*\n"


def test_odd_entries_do_not_stop_a_survey(repository: Path) -> None:
    os.mkfifo(repository / "requirements-pipe.txt")
    (repository / "requirements-gone.txt").symlink_to("nowhere")
    (repository / "requirements-loop.txt").symlink_to("requirements-loop.txt")
    (repository / "blob.bin").write_bytes(b"mlflow\0==2.9.2" * 100)
    result = CliRunner().invoke(command, [NEW, str(repository), "--offline", "--yes"], standalone_mode=False)
    assert result.exception is None, result.exception
