"""The access log: one JSON line a request, written off the event loop, rotated by size."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from liftlock.files import PRIVATE_FILE

_BUFFER = 4 << 20


class Line(msgspec.Struct, omit_defaults=True, gc=False):
    """One request: when it began (ms since 1970), who sent it, what, how it ended, how long (us) it took.

    `path` has no query. `agent` is the User-Agent, `client` X-MLflow-Client-Version. `held` is the part of `us` spent
    waiting in a hold. `to` is the upstream, empty when the gate answered by itself; status 499: the client left.
    """

    at: int
    peer: str
    verb: str
    path: str
    agent: str
    client: str
    read: bool
    status: int
    us: int
    held: int = 0
    to: str = ""


class AccessLog:
    """Collects lines and writes them from a thread; a full disk costs lines (`lost`), never requests."""

    def __init__(self, path: Path, *, max_bytes: int, files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._encoder = msgspec.json.Encoder()
        self._parts: list[bytes] = []
        self._size = 0
        self._lines = 0
        self._busy = False
        self.lost = 0

    def add(self, lines: Sequence[Line]) -> None:
        """Take some lines; they are written at the next flush."""
        if self._size > _BUFFER:
            self.lost += len(lines)
            return
        raw = self._encoder.encode_lines(lines)
        self._size += len(raw)
        self._lines += len(lines)
        self._parts.append(raw)

    async def flush(self) -> None:
        """Write what has been collected, unless a write is still under way."""
        if self._busy or not self._parts:
            return
        parts, lines = self._take()
        self._busy = True
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._write, parts)
        except OSError:
            self.lost += lines
        finally:
            self._busy = False

    def close(self) -> None:
        """Write the rest, at the end of the process."""
        parts, lines = self._take()
        if lines:
            try:
                self._write(parts)
            except OSError:
                self.lost += lines

    def _take(self) -> tuple[list[bytes], int]:
        taken = self._parts, self._lines
        self._parts, self._lines, self._size = [], 0, 0
        return taken

    def _write(self, parts: list[bytes]) -> None:
        # Opened for every write, so that an outside rotation is followed too.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            for part in parts:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            size = os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        if size >= self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        for number in range(self._files - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        self._numbered(self._files).unlink(missing_ok=True)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
