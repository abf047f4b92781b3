"""The form every extracted fact has, whatever it is about."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Fact(NamedTuple):
    """A value as text, and where it was read: a file of the distribution."""

    value: str
    source: str


def shortened(text: str, length: int, kept: int = 0) -> str:
    """A text, or the first `kept` characters of a longer one with a digest (`...['3f9c1a2b']`), so that a change in the
    part that is left out is seen. What is left is Python where nothing is kept.
    """
    if len(text) <= length:
        return text
    return f"{text[:kept]}...['{hashlib.sha256(text.encode()).hexdigest()[:8]}']"


Section = dict[str, Fact]
Facts = dict[str, Section]

# Every section, in the order it is shown.
SECTIONS = ("release", "dependencies", "tracking", "auth", "rest", "cli", "environment", "flavors", "api")
