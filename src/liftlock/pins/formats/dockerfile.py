"""Dockerfiles: FROM with any registry and digest, ARG and ENV, and install lines."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax

_SPACED = re.compile(
    rf"^[ \t]*ENV[ \t]+{tokens.VARIABLE}[ \t]+[\"']?(?P<version>{tokens.TAG})(?!\w|\.\w)", re.IGNORECASE | re.MULTILINE
)
_NAME = re.compile(r"(?:^|[.\-_])(?:dockerfile|containerfile)(?:[.\-_]|$)", re.IGNORECASE)


class Dockerfile:
    """`Dockerfile`, `Containerfile`, and names made of them such as `Dockerfile.prod` and `mlflow.Dockerfile`."""

    name = "dockerfile"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return _NAME.search(path.name) is not None and path.suffix not in (".md", ".py", ".rst")

    def find(self, text: str) -> list[Pin]:
        """Images, variables and requirements; only a line that begins with `#` is a comment in a Dockerfile."""
        bare = re.sub(r"^[ \t]*#[^\r\n]*", lambda found: " " * len(found[0]), text, flags=re.MULTILINE)
        spaced = [
            Pin(*found.span("version"), found["version"], "mlflow", Syntax.VERSION, "variable")
            for found in _SPACED.finditer(bare)
        ]
        conda = "conda" in bare or "mamba" in bare
        return tokens.without_overlaps([*spaced, *tokens.anything_in(bare, conda=conda)])
