"""pyproject.toml: PEP 621, dependency groups (PEP 735), build requirements; Poetry, PDM, hatch, uv and pixi."""

from __future__ import annotations

from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax
from liftlock.pins.toml_pins import dependency_tables, requirement_strings, tool_texts
from liftlock.pins.toml_scan import strings


class Pyproject:
    """`pyproject.toml` (and pixi.toml, which has the same tables)."""

    name = "pyproject"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name in ("pyproject.toml", "pixi.toml")

    def find(self, text: str) -> list[Pin]:
        """Every requirement in any list, every dependency of a table, of MLflow and its parts; and inside scripts."""
        texts = strings(text)
        found = [*requirement_strings(texts), *dependency_tables(texts, Syntax.POETRY), *tool_texts(texts)]
        return tokens.without_overlaps(found)
