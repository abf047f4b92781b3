from __future__ import annotations

import pytest

from liftlock.pins.formats.shell import Shell
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["scripts/up.sh", ".env.example"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Shell(), path)


def test_a_script_without_a_suffix_is_known_by_its_first_line() -> None:
    for line in ("#!/bin/sh", "#!/usr/bin/env bash", "#! /bin/zsh -e"):
        found = owner("bin/up", f"{line}\n")
        assert found is not None and found.name == "shell"
    assert owner("bin/up", "#!/usr/bin/python3\n") is None


def test_a_quote_keeps_a_hash_inside() -> None:
    text = "echo 'a # b' mlflow==2.9.2 # mlflow==2.8\npip install \"mlflow==2.9.2\"  # it's mlflow==1.0\n"
    assert moved(Shell(), text) == text.replace("2.9.2", "3.17.2")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("MLFLOW_VERSION=${1:-2.9.2}\n", "MLFLOW_VERSION=${1:-3.17.2}\n"),
        ("uv tool run mlflow@2.9.2 server\n", "uv tool run mlflow@3.17.2 server\n"),
        ("poetry add 'mlflow[extras]@^2.9.2'\n", "poetry add 'mlflow[extras]@^3.17.2'\n"),
        (
            "helm upgrade mlflow charts/mlflow -f values.yaml --set image.tag=v2.9.2\n",
            "helm upgrade mlflow charts/mlflow -f values.yaml --set image.tag=v3.17.2\n",
        ),
        (
            "helm upgrade x platform \\\n  --set 'a=b,mlflow.image.tag=2.9.2' \\\n  --set redis.image.tag=2.9.2\n",
            "helm upgrade x platform \\\n  --set 'a=b,mlflow.image.tag=3.17.2' \\\n  --set redis.image.tag=2.9.2\n",
        ),
        ("helm upgrade redis charts/redis --set image.tag=2.9.2 && helm list mlflow\n",) * 2,
        (
            "curl -O https://raw.githubusercontent.com/mlflow/mlflow/v2.9.2/requirements/core.txt\n",
            "curl -O https://raw.githubusercontent.com/mlflow/mlflow/v3.17.2/requirements/core.txt\n",
        ),
        ("git clone https://example.org/x/mlflow@2.9.2\n",) * 2,
    ],
)
def test_commands(before: str, after: str) -> None:
    assert moved(Shell(), before) == after
