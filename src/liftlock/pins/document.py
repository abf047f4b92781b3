"""A file's text with everything needed to write it back byte for byte: encoding, byte order mark, newlines."""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass

# UTF-16 is what `pip freeze > requirements.txt` writes in an older PowerShell.
_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True)
class Edit:
    """Replace the characters `start:end` by `text`."""

    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Document:
    """`path` is relative to the tree's root, with `/`. `text` has the file's own newlines and no byte order mark."""

    path: str
    raw: bytes
    text: str
    encoding: str
    mark: bytes

    @classmethod
    def decode(cls, path: str, raw: bytes) -> Document | None:
        """The document in these bytes, or None when they are not text."""
        mark, encoding = next(((mark, name) for mark, name in _MARKS if raw.startswith(mark)), (b"", "utf-8"))
        try:
            text = raw[len(mark) :].decode(encoding)
        except UnicodeDecodeError:
            if mark:
                return None
            # an old 8-bit encoding: this one gives every byte back, and versions are ASCII in all of them
            text, encoding = raw.decode("latin-1"), "latin-1"
        return None if "\0" in text else cls(path, raw, text, encoding, mark)

    def line(self, offset: int) -> int:
        """The line of a character, from 1."""
        return self.text.count("\n", 0, offset) + 1

    def with_text(self, text: str) -> Document:
        """The same file with other text."""
        return Document(self.path, self.mark + text.encode(self.encoding), text, self.encoding, self.mark)

    def edited(self, edits: Iterable[Edit]) -> Document:
        """The same file with the edits applied; they must not overlap."""
        pieces, position = [], 0
        for edit in sorted(edits, key=lambda each: (each.start, each.end)):
            if edit.start < position:
                raise AssertionError(f"two edits overlap in {self.path} at {edit.start}")
            pieces += [self.text[position : edit.start], edit.text]
            position = edit.end
        return self.with_text("".join([*pieces, self.text[position:]]))


def conflict_line(text: str) -> int | None:
    """The line of the first marker of an unfinished merge, or None.

    One marker alone may be a heading or a drawing; the opening and the closing one together are not.
    """
    lines = text.splitlines()
    first = next((number for number, line in enumerate(lines, 1) if line.startswith("<<<<<<< ")), None)
    return first if first and any(line.startswith(">>>>>>> ") for line in lines[first:]) else None
