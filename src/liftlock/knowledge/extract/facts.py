"""The form every extracted fact has, whatever it is about."""

from __future__ import annotations

from typing import NamedTuple


class Fact(NamedTuple):
    """A value as text, and where it was read: a file of the distribution."""

    value: str
    source: str


Section = dict[str, Fact]
Facts = dict[str, Section]

# Every section, in the order it is shown.
SECTIONS = ("release", "dependencies", "tracking", "auth", "rest", "cli", "environment", "flavors", "api")
