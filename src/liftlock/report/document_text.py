"""A document as plain text for a terminal."""

from __future__ import annotations

import textwrap

from liftlock.report.document import Block, Bullets, Document, Table
from liftlock.report.text import table

_WIDTH = 110


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
    lines.append(table(block.headers, [[_plain(cell) for cell in row] for row in rows]))
    if len(rows) < len(block.rows):
        lines.append(f"... and {len(block.rows) - len(rows)} more (--format markdown or html shows all)")
    return "\n".join(lines)


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())
