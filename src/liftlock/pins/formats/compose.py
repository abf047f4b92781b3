"""Docker compose: images, build arguments, environment, commands."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin
from liftlock.pins.yaml_pins import pins_in

_NAME = re.compile(r"(?:^|[-_.])compose(?:[-_.]|$)", re.IGNORECASE)


class Compose:
    """`compose.yaml`, `docker-compose*.yml`, and any YAML with a top-level `services`."""

    name = "compose"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name or by its services."""
        if path.suffix not in (".yml", ".yaml"):
            return False
        return _NAME.search(path.stem) is not None or re.search(r"^services\s*:", head, re.MULTILINE) is not None

    def find(self, text: str) -> list[Pin]:
        """Images (also in `${TAG:-v2.9.2}`), variables, and requirements in commands."""
        return pins_in(text)
