from __future__ import annotations

import pytest

from liftlock.pins.formats.compose import Compose
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["docker-compose.yml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Compose(), path)


def test_a_file_of_services_by_another_name_is_one() -> None:
    found = owner("deploy/stack.yml", "# x\nservices:\n  a: {}\n")
    assert found is not None and found.name == "compose"


def test_an_anchor_is_changed_once_and_keeps_its_name() -> None:
    text = "services:\n  a: {image: &mlflow-2.9.2 mlflow:2.9.2}\n  b: {image: *mlflow-2.9.2}\n"
    assert moved(Compose(), text) == text.replace("mlflow:2.9.2", "mlflow:3.17.2")
