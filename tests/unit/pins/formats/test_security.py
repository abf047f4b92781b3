from __future__ import annotations

import pytest

from liftlock.pins.formats.security import Security
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["SECURITY.md"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Security(), path)


def test_prose_and_other_columns_stay() -> None:
    text = "mlflow 2.9.2 has | mlflow | 2.9.2\n| package | mlflow 2.9.2 |\n| mlflow | none | 2.9.2 |\n"
    assert moved(Security(), text) == text
