"""Makefiles: variables and the lines of recipes."""

from __future__ import annotations

from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin


class Makefile:
    """`Makefile`, `GNUmakefile`, `*.mk` and `justfile`."""

    name = "makefile"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return (
            path.name.lower() in ("makefile", "gnumakefile", "justfile")
            or path.suffix == ".mk"
            or (path.stem == "Makefile")
        )

    def find(self, text: str) -> list[Pin]:
        """`MLFLOW_VERSION ?= 2.9.2`, images, and requirements in recipes."""
        return tokens.anything_in(tokens.without_comments(text), conda="conda" in text)
