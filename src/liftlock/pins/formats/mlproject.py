"""MLproject: the image of a project's Docker environment, and versions in its commands."""

from __future__ import annotations

from pathlib import PurePosixPath

from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin
from liftlock.pins.yaml_pins import pins_in


class MLproject:
    """The file `MLproject`, which is YAML."""

    name = "mlproject"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name.lower() in ("mlproject", "mlproject.yaml", "mlproject.yml")

    def find(self, text: str) -> list[Pin]:
        """`docker_env.image`, and requirements and variables inside commands and defaults."""
        return pins_in(text)
