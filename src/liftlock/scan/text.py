"""Text inside text: a fragment (a fence, a cell, a here-document) whose every character has a place in its file."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate


class Lines:
    """Places in a text as line and column, both from 1."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = list(accumulate((len(line) + 1 for line in text.split("\n")[:-1]), initial=0))

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of one line, without its end."""
        end = self.starts[number] if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r\n")


@dataclass(frozen=True)
class Piece:
    """A run of a fragment that stands in the file as it is: `length` characters at `place` and at `raw`."""

    place: int
    raw: int
    length: int


class Fragment:
    """A text made of pieces of a file's text. Characters between pieces (a decoded escape) have no exact place."""

    def __init__(self, text: str, pieces: list[Piece] | None = None) -> None:
        self.text = text
        self.pieces = self._pieces = [Piece(0, 0, len(text))] if pieces is None else pieces
        self._starts = [piece.place for piece in self._pieces]

    def raw(self, offset: int) -> int:
        """The place in the file of a place in this text."""
        number = bisect_right(self._starts, offset) - 1
        if number < 0:
            return self._pieces[0].raw if self._pieces else 0
        piece = self._pieces[number]
        return piece.raw + min(offset - piece.place, piece.length)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the file of a span that is not empty."""
        return self.raw(start), self.raw(max(end - 1, start)) + (1 if end > start else 0)

    def exact(self, start: int, end: int) -> bool:
        """Whether a span stands in the file letter by letter, so that it can be replaced there."""
        first, last = self.span(start, end)
        return last - first == end - start and bisect_right(self._starts, start) == bisect_right(
            self._starts, max(end - 1, start)
        )

    def part(self, start: int, end: int) -> Fragment:
        """A span of this text as a fragment of its own."""
        return self.joined([(start, end)])

    def joined(self, spans: list[tuple[int, int]]) -> Fragment:
        """Several spans put behind each other."""
        texts: list[str] = []
        pieces: list[Piece] = []
        length = 0
        for start, end in spans:
            texts.append(self.text[start:end])
            number = max(bisect_right(self._starts, start) - 1, 0)
            while number < len(self._pieces) and self._pieces[number].place < end:
                piece = self._pieces[number]
                low, high = max(piece.place, start), min(piece.place + piece.length, end)
                if low < high:
                    pieces.append(Piece(length + low - start, piece.raw + low - piece.place, high - low))
                number += 1
            length += end - start
        return Fragment("".join(texts), pieces)

    def dedented(self, spans: list[tuple[int, int]]) -> Fragment:
        """Lines with the indentation they share taken away; a span is one line with its end."""
        texts = [self.text[start:end] for start, end in spans]
        widths = [len(text) - len(text.lstrip(" \t")) for text in texts if text.strip()]
        width = min(widths, default=0)
        return self.joined(
            [
                (start + min(width, len(text) - len(text.lstrip(" \t"))), end)
                for (start, end), text in zip(spans, texts, strict=True)
            ]
        )


def line_spans(text: str) -> list[tuple[int, int]]:
    """The spans of all lines, ends included."""
    spans: list[tuple[int, int]] = []
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        spans.append((start, end))
        start = end
    return spans
