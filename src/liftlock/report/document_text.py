"""A document as plain text for a terminal: columns that are too wide together are wrapped."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import zip_longest

from liftlock.report.document import Block, Bullets, Document, Table

_WIDTH = 110
_TABLE = 140
_LEAST = 10
_GAP = "  "


def render(document: Document) -> str:
    """The text, without a line break at the end."""
    lines = [document.title, "=" * len(document.title)]
    for block in document.lead:
        lines += ["", _block(block)]
    for section in document.sections:
        lines += ["", section.title, "-" * len(section.title)]
        for number, block in enumerate(section.blocks):
            lines += [*([""] if number else []), _block(block)]
    return "\n".join([*lines, *(["", document.foot] if document.foot else [])])


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under headers, wrapped so that all columns stand beside each other in 140 characters."""
    plain = [[_plain(cell) for cell in row] for row in (headers, *rows)]
    widths = _widths(plain)
    lines = [_row(plain[0], widths), [_GAP.join("-" * width for width in widths)]]
    lines += [_row(row, widths) for row in plain[1:]]
    return "\n".join(line for group in lines for line in group)


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """As wide as the widest cell; the widest columns give way first where that is too much."""
    widths = [max(1, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    room = _TABLE - len(_GAP) * (len(widths) - 1)
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _row(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    wrapped = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    return [
        _GAP.join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    ]


def _block(block: Block) -> str:
    if isinstance(block, str):
        return textwrap.fill(_plain(block), _WIDTH, break_long_words=False, break_on_hyphens=False)
    if isinstance(block, Bullets):
        mark = "[ ] " if block.boxes else "- "
        return "\n".join(
            textwrap.fill(
                _plain(item), _WIDTH, initial_indent=mark, subsequent_indent=" " * len(mark),
                break_long_words=False, break_on_hyphens=False,
            )
            for item in block.items
        )  # fmt: skip
    return _table(block)


def _table(block: Table) -> str:
    rows = block.rows[: block.limit]
    lines = [block.caption] if block.caption else []
    lines.append(columns(block.headers, rows))
    if len(rows) < len(block.rows):
        lines.append(f"... and {len(block.rows) - len(rows)} more (--format markdown or html shows all)")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())
