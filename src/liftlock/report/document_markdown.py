"""A document as Markdown that a repository or a ticket shows as it is meant."""

from __future__ import annotations

import re

from liftlock.report.document import Block, Bullets, Document, Table

# What Markdown would read as markup; between backticks nothing is read.
_SPECIAL = re.compile(r"([\\*_\[\]<>#|~])")


def render(document: Document) -> str:
    """The text, ending in a line break."""
    parts = [f"# {_inline(document.title)}", *(_block(block) for block in document.lead)]
    for section in document.sections:
        parts.append(f"## {_inline(section.title)}")
        parts += [_block(block) for block in section.blocks]
    if document.foot:
        parts.append(f"*{_inline(document.foot)}*")
    return "\n\n".join(parts) + "\n"


def _block(block: Block) -> str:
    if isinstance(block, str):
        return _inline(block)
    if isinstance(block, Bullets):
        mark = "- [ ]" if block.boxes else "-"
        return "\n".join(f"{mark} {_inline(item)}" for item in block.items)
    return _table(block)


def _table(block: Table) -> str:
    lines = [_row(block.headers), _row(["---"] * len(block.headers), raw=True), *(_row(row) for row in block.rows)]
    shown = "\n".join(lines)
    return f"{_inline(block.caption)}\n\n{shown}" if block.caption else shown


def _row(cells: tuple[str, ...] | list[str], *, raw: bool = False) -> str:
    return "| " + " | ".join(cell if raw else _inline(cell) for cell in cells) + " |"


def _inline(text: str) -> str:
    """The text with everything escaped but what stands between backticks (a pipe ends a cell even there)."""
    pieces = " ".join(text.split()).split("`")
    if len(pieces) % 2 == 0:  # an odd backtick is no code
        return _SPECIAL.sub(r"\\\1", "`".join(pieces)).replace("`", "\\`")
    shown = [
        f"`{piece.replace('|', chr(92) + '|')}`" if number % 2 else _SPECIAL.sub(r"\\\1", piece)
        for number, piece in enumerate(pieces)
    ]
    return "".join(shown)
