"""The images a deployment's files name, and their digests from a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.app.evidence_images import images
from liftlock.pins.model import BadFile
from tests.support.registry import NEW, OLD, registry
from tests.support.servers import free_port


def test_each_place_with_the_digest_of_today_or_the_reason_why_there_is_none(tmp_path: Path) -> None:
    with registry() as fake:
        name = f"127.0.0.1:{fake.port}/team/mlflow"
        (tmp_path / "Dockerfile").write_text(f"# ours\nFROM {name}:v3.17.2@{OLD}\n")
        (tmp_path / "compose.yaml").write_text(f"services:\n  m:\n    image: {name}:v3.17.2\n")
        (tmp_path / "values.yaml").write_text(f"image:\n  repository: {name}\n  tag: v9.9.9\n")
        (tmp_path / "old.Dockerfile").write_text("FROM mlflow/mlflow:v3.17.2\n")
        (tmp_path / "dead.Dockerfile").write_text(f"FROM 127.0.0.1:{free_port()}/mlflow:3.17.2\n")
        found = {each.file: each for each in images(tmp_path)}
        assert len(fake.scopes) == 2, "one question for each image, however many places name it"
    assert (found["Dockerfile"].line, found["Dockerfile"].digest, found["Dockerfile"].pinned) == (2, NEW, OLD)
    assert (found["compose.yaml"].digest, found["compose.yaml"].pinned) == (NEW, "")
    assert not found["values.yaml"].digest and "has no team/mlflow:v9.9.9" in found["values.yaml"].why
    assert "names no registry" in found["old.Dockerfile"].why and "does not answer" in found["dead.Dockerfile"].why


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: [\nimage: mlflow:v1.2.3\n")
    with pytest.raises(BadFile, match=r"compose\.yaml:\d+: not readable as YAML"):
        images(tmp_path)
