from __future__ import annotations

import pytest

from liftlock.pins.formats.setup_cfg import SetupCfg
from liftlock.pins.model import CannotParse
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["setup.cfg"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(SetupCfg(), path)


def test_tox_factors_move() -> None:
    text = "[testenv]\ndeps =\n    old: mlflow==2.9.2  ; keep mlflow==1.0\n"
    assert moved(SetupCfg(), text) == text.replace("2.9.2", "3.17.2")


def test_a_file_that_is_no_ini_is_named_with_its_line() -> None:
    with pytest.raises(CannotParse) as caught:
        SetupCfg().find("mlflow==2.9.2\n[options]\n")
    assert caught.value.line == 1
