"""Where a chunked body ends: a strict scanner that passes the bytes on as they came, except trailers, dropped."""

from __future__ import annotations

import re

# Extensions are allowed but only in plain sight: no bare CR or LF, of which servers make different ends of a line.
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e]*)?\r\n")
_TRAILER = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n")
_LINE = 4096
_TRAILERS = 16_384

_SIZE_LINE, _DATA, _DATA_END, _TRAILER_LINES = range(4)


class BadChunk(Exception):
    """The body is not chunked as it says."""


class Chunks:
    """Feed it a body as it arrives; `done` turns true at its end."""

    __slots__ = ("_left", "_partial", "_state", "_trailers", "done", "size")

    def __init__(self) -> None:
        self._state = _SIZE_LINE
        self._left = 0
        self._partial = b""
        self._trailers = 0
        self.done = False
        self.size = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The bytes to pass on, and what lies after the body's end (empty unless `done`). Raises BadChunk."""
        # What was kept of a cut line was not passed on yet, so it is part of what may go now.
        data = self._partial + data if self._partial else data
        self._partial = b""
        at, end = 0, len(data)
        while at < end:
            if self._state == _DATA:
                step = min(self._left, end - at)
                at += step
                self._left -= step
                self.size += step
                if not self._left:
                    self._state = _DATA_END
            elif self._state == _DATA_END:
                if end - at < 2:
                    if data[at] != 13:
                        raise BadChunk("chunk data without its end")
                    self._partial = data[at:]
                    return data[:at], b""
                if data[at : at + 2] != b"\r\n":
                    raise BadChunk("chunk data without its end")
                at += 2
                self._state = _SIZE_LINE
            else:
                line_end = data.find(b"\n", at, at + _LINE)
                if line_end < 0:
                    if end - at >= _LINE:
                        raise BadChunk("endless chunk line")
                    self._partial = data[at:]
                    return data[:at], b""
                if self._state == _TRAILER_LINES:
                    return self._skip_trailers(data, at)
                match = _SIZE.fullmatch(data, at, line_end + 1)
                if match is None:
                    raise BadChunk("malformed chunk size")
                at = line_end + 1
                self._left = int(match[1], 16)
                self._state = _DATA if self._left else _TRAILER_LINES
        return data, b""

    def _skip_trailers(self, data: bytes, at: int) -> tuple[bytes, bytes]:
        passed = data[:at]
        while True:
            line_end = data.find(b"\n", at, at + _LINE)
            if line_end < 0:
                if len(data) - at >= _LINE:
                    raise BadChunk("endless trailer")
                self._partial = data[at:]
                return passed, b""
            line = data[at : line_end + 1]
            at = line_end + 1
            if line == b"\r\n":
                self.done = True
                return passed + b"\r\n", data[at:]
            self._trailers += len(line)
            if _TRAILER.fullmatch(line) is None or self._trailers > _TRAILERS:
                raise BadChunk("malformed trailer")
