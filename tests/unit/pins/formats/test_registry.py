from __future__ import annotations

from pathlib import Path

from liftlock.pins import formats
from tests.support.pins_check import owner
from tests.support.pins_tree import SAMPLES


def test_every_format_has_a_test_file_of_its_own() -> None:
    ours = {path.stem for path in Path(formats.__file__).parent.glob("*.py")} - {"__init__", "interface"}
    assert {path.stem.removeprefix("test_") for path in Path(__file__).parent.glob("test_*.py")} == {*ours, "registry"}


def test_every_format_but_the_locks_has_a_sample() -> None:
    known = {form.name for form in formats.FORMATS if form.group.value != "lock"}
    assert {found.name for each in SAMPLES if (found := owner(each.path, each.before))} == known
