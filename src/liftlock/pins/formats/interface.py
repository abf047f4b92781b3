"""What a format does: recognise its files, and find the pins in their text."""

from __future__ import annotations

import enum
from pathlib import PurePosixPath
from typing import Protocol

from liftlock.pins.model import Pin


class Group(enum.StrEnum):
    """How a format's files take part in a change."""

    PINS = "pins"  # always
    DOCS = "docs"  # when documentation is asked for
    LOCK = "lock"  # rewritten by their own tool; the pins found only tell what they hold now


class Format(Protocol):
    """One way to write files that name a version."""

    name: str
    group: Group

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """Whether a file is of this format, by its path below the root and the first 4,096 characters of its text."""
        ...

    def find(self, text: str) -> list[Pin]:
        """All pins, in order of place and without overlaps. Raises CannotParse, with the line."""
        ...
