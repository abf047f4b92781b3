from __future__ import annotations

import pytest

from liftlock.pins.formats.interface import Format, Group
from liftlock.pins.formats.locks import CondaLock, PipfileLock, TomlLock
from liftlock.pins.model import CannotParse
from tests.support.pins_check import owner

TOML = '[[package]]\nname = "mlflow"\nversion = "2.9.2"\n[[package]]\nname = "six"\nversion = "2.9.2"\n'
PIPFILE = '{"default": {"mlflow": {"hashes": ["sha256:1"], "version": "==2.9.2"}, "six": {"version": "==2.9.2"}}}'
CONDA = "package:\n- name: mlflow\n  manager: conda\n  version: 2.9.2\n- name: six\n  version: 2.9.2\n"


@pytest.mark.parametrize(
    ("path", "form", "text", "line"),
    [
        ("uv.lock", TomlLock(), TOML, 3),
        ("poetry.lock", TomlLock(), TOML, 3),
        ("pdm.lock", TomlLock(), TOML, 3),
        ("pylock.toml", TomlLock(), TOML.replace("[package]", "[packages]"), 3),
        ("pylock.dev.toml", TomlLock(), TOML.replace("[package]", "[packages]"), 3),
        ("Pipfile.lock", PipfileLock(), PIPFILE, 1),
        ("conda-lock.yml", CondaLock(), CONDA, 4),
    ],
)
def test_what_a_lock_holds_is_read(path: str, form: Format, text: str, line: int) -> None:
    found = owner(path, text)
    assert found is not None and found.name == form.name and found.group is Group.LOCK
    pins = form.find(text)
    assert [(pin.text.removeprefix("=="), pin.package) for pin in pins] == [("2.9.2", "mlflow")]
    assert text.count("\n", 0, pins[0].start) + 1 == line


def test_a_damaged_lock_is_named_with_its_line() -> None:
    cases: list[tuple[Format, str]] = [(TomlLock(), "a = 1\nb = \n"), (PipfileLock(), '{\n"a": }')]
    for form, text in cases:
        with pytest.raises(CannotParse) as caught:
            form.find(text)
        assert caught.value.line == 2
