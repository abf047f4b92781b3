from __future__ import annotations

import pytest

from liftlock.pins.formats.pyproject import Pyproject
from liftlock.pins.model import BadFile, CannotParse
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["pyproject.toml", "poetry/pyproject.toml", "pdm/pyproject.toml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Pyproject(), path)


def test_a_choice_of_ranges_is_left_to_a_person() -> None:
    with pytest.raises(BadFile, match=r"file:2: .* is a choice of ranges"):
        moved(Pyproject(), '[tool.poetry.dependencies]\nmlflow = "^2.9 || ^3.1"\n')


def test_toml_that_cannot_be_read_is_named_with_its_line() -> None:
    with pytest.raises(CannotParse) as caught:
        Pyproject().find('[project]\nname = "x"\ndependencies = ["mlflow==2.9.2"\n[tool]\n')
    assert caught.value.line == 4


def test_stars_and_other_tables_stay() -> None:
    text = '[tool.poetry.dependencies]\nmlflow = "*"\n[tool.x]\nmlflow = "2.9.2"\nnames = ["mlflow"]\n'
    assert moved(Pyproject(), text) == text


def test_a_git_dependency_of_poetry_moves_its_tag() -> None:
    text = '[tool.poetry.dependencies]\nmlflow = {git = "https://github.com/mlflow/mlflow", tag = "v2.9.2"}\n'
    assert moved(Pyproject(), text) == text.replace("2.9.2", "3.17.2")


def test_sources_scripts_and_files_inside_it_move() -> None:
    text = (
        '[project]\ndescription = "like mlflow==2.9.2"\n'
        '[tool.uv.sources]\nmlflow = { git = "https://github.com/mlflow/mlflow", tag = "v2.9.2" }\n'
        '[tool.hatch.envs.x.scripts]\nsetup = "pip install mlflow==2.9.2"\n'
        '[tool.tox]\nlegacy_tox_ini = """\n[testenv]\ndeps = mlflow==2.9.2 # mlflow==2.0\n"""\n'
    )
    head, rest = text.split("[tool.uv")
    assert moved(Pyproject(), text) == head + "[tool.uv" + rest.replace("2.9.2", "3.17.2")
