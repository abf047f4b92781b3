"""A report before it has a form: sections of paragraphs, lists and tables. Text, Markdown and HTML are made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Rows under headers; `tones` says for each row whether it is bad, a warning, good, or nothing in particular.

    A terminal shows `limit` rows (None: all); pages always show all. `folded` are opened on the HTML page by a click.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    tones: tuple[str, ...] = ()
    caption: str = ""
    limit: int | None = None
    folded: bool = False


@dataclass(frozen=True)
class Bullets:
    """A list; `boxes` gives every item a box to tick."""

    items: tuple[str, ...]
    boxes: bool = False


Block = str | Table | Bullets


@dataclass(frozen=True)
class Section:
    """One part of a report: a title and what is said below it. A word in `backticks` is code."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Document:
    """A whole report. `lead` stands above the first section, `foot` below the last."""

    title: str
    lead: tuple[Block, ...]
    sections: tuple[Section, ...]
    foot: str = ""


@dataclass
class Rows:
    """Collects a table's rows with their tones."""

    headers: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    tones: list[str] = field(default_factory=list)

    def add(self, *cells: str, tone: str = "") -> None:
        """One more row."""
        assert len(cells) == len(self.headers)
        self.rows.append(cells)
        self.tones.append(tone)

    def table(self, caption: str = "", limit: int | None = None, *, folded: bool = False) -> Table:
        """What was collected."""
        return Table(self.headers, tuple(self.rows), tuple(self.tones), caption, limit, folded)


def listed(items: Sequence[str], limit: int) -> str:
    """The first items in words, and how many more there are."""
    shown = ", ".join(items[:limit])
    return f"{shown} and {len(items) - limit} more" if len(items) > limit else shown
