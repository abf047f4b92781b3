"""Documentation, changed only when asked: install lines, images and variables in prose and examples."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin

_HISTORY = re.compile(r"change|history|news|release|upgrad|migrat|whatsnew", re.IGNORECASE)


class Docs:
    """Markdown, reStructuredText, AsciiDoc, and text. What tells of the past (changelogs, upgrade notes) stays."""

    name = "documentation"
    group = Group.DOCS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By suffix, except names that tell of the past."""
        del head
        return path.suffix in (".md", ".rst", ".adoc", ".markdown", ".txt") and not is_history(path)

    def find(self, text: str) -> list[Pin]:
        """Requirements (also conda's), images and variables."""
        return tokens.anything_in(text, conda=True)


def is_history(path: PurePosixPath) -> bool:
    """Whether a document tells of the past, where an old version is right."""
    return _HISTORY.search(path.name) is not None
