"""What only the package index knows: which versions exist, their hashes, and whether other pins allow them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from liftlock.errors import LiftlockError
from tests.support.pins_tree import NEW, contents, write

pytestmark = pytest.mark.release


def refused(root: Path, version: str, *options: str) -> LiftlockError:
    before = contents(root)
    result = CliRunner().invoke(command, [version, str(root), "--yes", *options], standalone_mode=False)
    assert isinstance(result.exception, LiftlockError), result.output
    assert contents(root) == before and result.exception.exit_status == 3
    return result.exception


def test_versions_that_do_not_exist_change_nothing(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "requirements.txt").write_text("six\nmlflow-tracing>=3.1\n")
    assert "there is no MLflow 3.17.99" in refused(tmp_path, "3.17.99").message
    assert refused(tmp_path, "2.9.2").message == "requirements.txt:2: there is no mlflow-tracing 2.9.2"


def test_hashes_written_by_hand_become_those_of_the_index(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "requirements.txt").write_text(f"mlflow-skinny==2.9.2 --hash=sha256:{'0' * 64}\n")
    result = CliRunner().invoke(command, [NEW, str(tmp_path), "--yes"], standalone_mode=False)
    assert result.exception is None and result.return_value == 0
    text = (tmp_path / "requirements.txt").read_text()
    assert re.fullmatch(r"mlflow-skinny==3\.17\.2( --hash=sha256:[0-9a-f]{64})+\n", text) and "0" * 64 not in text


def test_a_pin_in_the_way_is_told_in_words_and_nothing_changes(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "requirements.txt").write_text("mlflow==2.9.2\ncryptography==42.0.0\n")
    error = refused(tmp_path, NEW, "--support")
    assert "mlflow==3.17.2 depends on cryptography>=43.0.0" in error.message
    assert error.hint.startswith("cryptography==42.0.0 would have to be cryptography==")
