from __future__ import annotations

import pytest

from liftlock.pins.formats.setup_py import SetupPy
from liftlock.pins.model import CannotParse
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["setup.py"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(SetupPy(), path)


def test_the_sessions_of_nox_are_read_too() -> None:
    found = owner("noxfile.py", "")
    assert found is not None and found.name == "setup.py"
    assert moved(SetupPy(), 's.install("mlflow==2.9.2", "-e.")\n') == 's.install("mlflow==3.17.2", "-e.")\n'


def test_code_that_is_no_python_is_named_with_its_line() -> None:
    with pytest.raises(CannotParse) as caught:
        SetupPy().find("x = 1\nsetup(install_requires=['mlflow==2.9.2'\n")
    assert caught.value.line == 2


def test_prose_escapes_and_joined_literals_stay() -> None:
    text = "a = 'see mlflow==2.9.2'\nb = 'mlflow' '==2.9.2'\nc = 'mlflow\\x3d=2.9.2'\n"
    assert moved(SetupPy(), text) == text


def test_columns_count_characters_not_bytes() -> None:
    text = "x = ['é€😀', 'mlflow==2.9.2', '''mlflow-skinny>=2.0''']\r\n"
    assert moved(SetupPy(), text) == "x = ['é€😀', 'mlflow==3.17.2', '''mlflow-skinny>=3.17.2''']\r\n"
