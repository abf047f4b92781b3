from __future__ import annotations

import pytest

from liftlock.pins.formats.ci import Ci
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", [".github/workflows/ci.yml", ".gitlab-ci.yml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Ci(), path)


def test_a_matrix_of_several_versions_stays() -> None:
    text = "matrix:\n  mlflow-version: ['2.8.1', '2.9.2']\n  mlflow_version:\n  - 2.9.2\n"
    assert moved(Ci(), text) == "matrix:\n  mlflow-version: ['2.8.1', '2.9.2']\n  mlflow_version:\n  - 3.17.2\n"


def test_actions_are_recognised() -> None:
    found = owner(".github/actions/setup/action.yml", "")
    assert found is not None and found.name == "ci"
