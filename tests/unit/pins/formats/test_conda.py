from __future__ import annotations

import pytest

from liftlock.pins.formats.conda import Conda
from liftlock.pins.model import BadFile
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["environment.yml", "conda/conda.yaml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Conda(), path)


def test_a_build_goes_with_its_version_and_a_short_fuzzy_one_keeps_its_precision() -> None:
    text = "dependencies:\n- mlflow=2.9\n- mlflow-skinny==2.9.2=py_0\n"
    assert moved(Conda(), text) == "dependencies:\n- mlflow=3.17\n- mlflow-skinny==3.17.2\n"


def test_a_choice_is_left_to_a_person() -> None:
    with pytest.raises(BadFile, match=r"file:2: .*choice"):
        moved(Conda(), "dependencies:\n- mlflow 2.8.1|2.9.2\n")
