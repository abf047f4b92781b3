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


def test_every_category_is_one() -> None:
    text = '[scripts]\nmlflow = "==2.9.2"\n[docs]\nmlflow = {version = "==2.9.2"}\n[packages]\nmlflow = "~=2.9"\n'
    after = text.replace('{version = "==2.9.2"}', '{version = "==3.17.2"}').replace("~=2.9", "~=3.17")
    assert moved(Pipfile(), text) == after
