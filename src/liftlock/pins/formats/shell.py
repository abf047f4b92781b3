"""Shell scripts and files of environment variables."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin

_SHEBANG = re.compile(r"#!\s*\S*(?:/|env\s+(?:-S\s+)?)(?:ba|z|da|k|a)?sh\b")


class Shell:
    """`*.sh` and anything that begins with a shell's `#!`; `.env`, `.env.*`, `*.env` and `.envrc`."""

    name = "shell"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By suffix, name or first line."""
        environment = path.name.startswith(".env") or path.suffix == ".env"
        return environment or path.suffix in (".sh", ".bash", ".zsh") or _SHEBANG.match(head) is not None

    def find(self, text: str) -> list[Pin]:
        """Install lines, images, `MLFLOW_VERSION=2.9.2` and `${MLFLOW_VERSION:-2.9.2}`."""
        bare = tokens.without_comments(text)
        return tokens.anything_in(bare, conda="conda" in bare or "mamba" in bare)
