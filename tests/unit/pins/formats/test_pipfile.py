from __future__ import annotations

import pytest

from liftlock.pins.formats.pipfile import Pipfile
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["Pipfile"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Pipfile(), path)


def test_a_star_stays() -> None:
    text = '[packages]\nmlflow = "*"\nsix = "==2.9.2"\n'
    assert moved(Pipfile(), text) == text
