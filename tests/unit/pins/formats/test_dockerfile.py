from __future__ import annotations

import pytest

from liftlock.pins.formats.dockerfile import Dockerfile
from liftlock.pins.model import BadFile, Target
from tests.support.pins_check import TARGET, assert_sample, moved, owner


@pytest.mark.parametrize("path", ["Dockerfile", "docker/mlflow.Dockerfile"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Dockerfile(), path)


A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


def test_a_digest_needs_its_new_value() -> None:
    text = f"FROM ghcr.io/mlflow/mlflow:v2.9.2@{A} AS x\n"
    with pytest.raises(BadFile, match=r"file:1: .*digest"):
        moved(Dockerfile(), text)
    known = Target(TARGET.version, digests={"ghcr.io/mlflow/mlflow": B})
    assert moved(Dockerfile(), text, known) == f"FROM ghcr.io/mlflow/mlflow:v3.17.2@{B} AS x\n"
    dropped = Target(TARGET.version, drop_digests=True)
    assert moved(Dockerfile(), text, dropped) == "FROM ghcr.io/mlflow/mlflow:v3.17.2 AS x\n"


def test_a_digest_without_a_tag_is_never_dropped() -> None:
    with pytest.raises(BadFile, match=r"file:1"):
        moved(Dockerfile(), f"FROM ghcr.io/mlflow/mlflow@{A}\n", Target(TARGET.version, drop_digests=True))


@pytest.mark.parametrize(
    "line",
    [
        "FROM ghcr.io/mlflow/mlflow-exporter:2.9.2",
        "FROM mlflow/base:2.9.2",
        "ARG MLFLOW_CHART_VERSION=2.9.2",
        "RUN pip install my-mlflow==2.9.2",
        "COPY mlflow-2.9.2.whl .",
        "  # FROM mlflow:2.9.2",
        "FROM mlflow:latest",
    ],
)
def test_what_is_not_mlflows_version_stays(line: str) -> None:
    assert moved(Dockerfile(), f"{line}\n") == f"{line}\n"


@pytest.mark.parametrize("path", ["Containerfile", "Dockerfile.prod", "a/api.dockerfile", "Dockerfile-gpu"])
def test_recognises_by_name(path: str) -> None:
    found = owner(path, "")
    assert found is not None and found.name == "dockerfile"
