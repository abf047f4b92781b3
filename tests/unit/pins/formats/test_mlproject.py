from __future__ import annotations

import pytest

from liftlock.pins.formats.mlproject import MLproject
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["MLproject"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(MLproject(), path)


def test_a_default_of_a_version_parameter_moves() -> None:
    text = "entry_points:\n  main:\n    parameters:\n      mlflow_version: {type: string, default: '2.9.2'}\n"
    assert moved(MLproject(), text) == text.replace("2.9.2", "3.17.2")
