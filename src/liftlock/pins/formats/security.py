"""SECURITY.md: the row of a table that says which version of MLflow is in use."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax

_ROW = re.compile(
    rf"^[ \t]*\|[ \t]*[*_`]*(?P<name>{tokens.PACKAGE})[*_`]*[ \t]*"
    rf"\|[ \t]*[*_`]*(?P<version>{tokens.TAG})[*_`]*[ \t]*\|",
    re.IGNORECASE | re.MULTILINE,
)


class Security:
    """`SECURITY.md`, wherever it lies."""

    name = "security table"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name.lower() in ("security.md", "security.markdown")

    def find(self, text: str) -> list[Pin]:
        """The second cell of rows whose first cell is MLflow's name; a version does not decide the others."""
        return [
            Pin(*found.span("version"), found["version"], found["name"].lower(), Syntax.VERSION, "table row")
            for found in _ROW.finditer(text)
        ]
