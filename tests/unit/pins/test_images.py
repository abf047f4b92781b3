"""FROM follows the tracked image to another registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from liftlock.cli.pin import command
from liftlock.pins.document import Document
from liftlock.pins.images import followed, name_of
from liftlock.pins.model import BadFile
from tests.support.pins_tree import contents, write

OLD, NEW = "ghcr.io/mlflow/mlflow:v3.6.0", "registry.example.org:5000/team/mlflow:v3.17.2"
DIGEST = f"sha256:{'a' * 64}"


def go(text: str, before: str = OLD, after: str = NEW) -> str:
    document = Document.decode("Dockerfile", text.encode())
    assert document is not None
    return followed(document, before, after)[0].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"FROM {OLD}\n", f"FROM {NEW}\n"),
        (f"FROM --platform=$BUILDPLATFORM {OLD} AS base\r\n", f"FROM --platform=$BUILDPLATFORM {NEW} AS base\r\n"),
        ("  from ghcr.io/mlflow/mlflow AS x\n", f"  from {NEW} AS x\n"),
        ("FROM ghcr.io/mlflow/mlflow:${T}\n", "FROM registry.example.org:5000/team/mlflow:${T}\n"),
        (f"FROM python:3.12\nCOPY --from={OLD} /x /y\n", None),
        ("FROM ghcr.io/mlflow/mlflow-other:v3.6.0\n", None),
        ("# FROM ghcr.io/mlflow/mlflow:v3.6.0\n", None),
    ],
)  # fmt: skip
def test_the_whole_reference_moves(text: str, expected: str | None) -> None:
    assert go(text) == (expected or text)


def test_a_registry_with_a_port_can_be_left_again() -> None:
    assert name_of(NEW) == "registry.example.org:5000/team/mlflow" and name_of(f"{NEW}@{DIGEST}") == name_of(NEW)
    assert name_of("host:5000/mlflow") == "host:5000/mlflow"
    assert go(f"FROM {NEW}\n", NEW, OLD) == f"FROM {OLD}\n"


def test_a_digest_is_replaced_or_refused() -> None:
    assert go(f"FROM {OLD}@{DIGEST}\n", after=f"{NEW}@{DIGEST[:-1]}b") == f"FROM {NEW}@{DIGEST[:-1]}b\n"
    with pytest.raises(BadFile, match=r"Dockerfile:2: .* is pinned by a digest"):
        go(f"ARG X\nFROM {OLD}@{DIGEST}\n")


def test_through_the_command_there_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old script could not: after one other registry it never ran again."""
    write(tmp_path, ())
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mlflow_release.yaml").write_text(f"current_version: 3.6.0\ncontainer_image: {OLD}\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {OLD} # keep\nRUN true\n")
    before = contents(tmp_path)

    def pin(*words: str) -> Any:
        done = CliRunner().invoke(command, [*words, str(tmp_path), "--offline", "--yes"], standalone_mode=False)
        assert done.exception is None, done.exception
        return done.stdout

    monkeypatch.chdir(tmp_path)
    said = pin("3.17.2", "--image-tag", NEW)
    assert (tmp_path / "Dockerfile").read_text() == f"FROM {NEW} # keep\nRUN true\n"
    assert said.count("Dockerfile:1") == 1
    assert NEW in (tmp_path / "config/mlflow_release.yaml").read_text()
    pin("3.6.0", "--image-tag", OLD)
    assert contents(tmp_path) == before


def test_a_digest_given_with_the_image_is_enough(tmp_path: Path) -> None:
    write(tmp_path, ())
    (tmp_path / "config").mkdir()
    (tmp_path / "config/mlflow_release.yaml").write_text(f"current_version: 3.6.0\ncontainer_image: {OLD}\n")
    (tmp_path / "Dockerfile").write_text(f"FROM {OLD}@{DIGEST}\n")
    new = f"{NEW}@{DIGEST[:-1]}b"
    words = ["3.17.2", str(tmp_path), "--offline", "--yes", "--image-tag", new]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert done.exception is None, done.exception
    assert (tmp_path / "Dockerfile").read_text() == f"FROM {new}\n"
