"""JSON Lines: one object a line, UTF-8, values as JSON can hold them."""

from __future__ import annotations

import base64
import datetime
import decimal
import hashlib
import math
import os
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from liftlock.files import PRIVATE_FILE
from liftlock.model.snapshot import FileEntry

_FLUSH_LINES = 2000
_encode_lines = msgspec.json.Encoder().encode_lines


def plain(value: Any) -> Any:
    """A database value as JSON has it: not-a-number and infinities as text, bytes as base64, times as RFC 3339."""
    if isinstance(value, float):
        return value if math.isfinite(value) else number_name(value)
    if value is None or isinstance(value, str | int | dict | list):
        return value
    if isinstance(value, decimal.Decimal):
        return plain(float(value))
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return str(value)


def number_name(value: float) -> str:
    """`NaN`, `Infinity` or `-Infinity`, as JavaScript and Python's float() read them."""
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


class LineFile:
    """One file being written; its size, digest and number of lines are known at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = 0
        self._digest = hashlib.sha256()
        self._bytes = 0
        self._waiting: list[dict[str, Any]] = []
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE), "wb", buffering=0)

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
                os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def add(self, value: dict[str, Any]) -> None:
        """Append one line."""
        self._waiting.append(value)
        self.lines += 1
        if len(self._waiting) >= _FLUSH_LINES:
            self._flush()

    def entry(self) -> FileEntry:
        """Name, bytes and SHA-256 of what was written, after it was closed."""
        return FileEntry(path=self.path.name, bytes=self._bytes, sha256=self._digest.hexdigest())

    def _flush(self) -> None:
        if not self._waiting:
            return
        data = memoryview(_encode_lines(self._waiting))
        self._waiting = []
        self._digest.update(data)
        self._bytes += len(data)
        while data:
            data = data[self._file.write(data) :]
