"""Pipfile: tables of packages with pip's specifiers."""

from __future__ import annotations

from pathlib import PurePosixPath

from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax
from liftlock.pins.toml_pins import dependency_tables
from liftlock.pins.toml_scan import strings

# Every other table is a category of packages, whatever its name.
_OTHER = frozenset({"source", "requires", "scripts", "pipenv"})


class Pipfile:
    """`Pipfile`, whose categories are tables such as `packages` and `dev-packages`."""

    name = "pipfile"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name == "Pipfile"

    def find(self, text: str) -> list[Pin]:
        """`mlflow = "==2.9.2"` and `mlflow = {version = "==2.9.2", ...}`."""
        texts = strings(text)
        categories = frozenset(str(each.path[0]) for each in texts) - _OTHER
        return list(dependency_tables(texts, Syntax.PEP440, categories))
