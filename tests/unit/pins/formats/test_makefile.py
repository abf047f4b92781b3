from __future__ import annotations

import pytest

from liftlock.pins.formats.makefile import Makefile
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["Makefile"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Makefile(), path)


@pytest.mark.parametrize("sign", ["=", ":=", "?=", "::=", " = ", " ?= "])
def test_every_kind_of_assignment(sign: str) -> None:
    assert moved(Makefile(), f"export MLFLOW_VERSION{sign}2.9.2\n") == f"export MLFLOW_VERSION{sign}3.17.2\n"


def test_recognises_by_name() -> None:
    found = owner("make/ops/mlflow.mk", "")
    assert found is not None and found.name == "makefile"
