"""Hashing and flushing files while another program still writes them, each from its start to its end.

What a dump takes longest for is one file; read back when it is done, it would be read, hashed and flushed while nothing
else happens. Whoever checks the files later against these sums sees whether they were written as is said here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

_PIECE = 1 << 20
_FLUSH = 16 << 20
_PAUSE = 0.01  # seconds between two looks


class Following:
    """Follows all files of a directory but those named; a block in which they are written.

    `finish` gives what was found of those that are whole then.
    """

    def __init__(self, directory: Path, *, without: Collection[str]) -> None:
        self._directory = directory
        self._without = without
        self._files: dict[str, _File] = {}
        self._open = ExitStack()
        self._stop = Event()
        self._pool = ThreadPoolExecutor(1)
        self._work = self._pool.submit(self._follow)

    def __enter__(self) -> Following:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown()
        self._open.close()

    def finish(self) -> dict[str, tuple[int, str]]:
        """Once nobody writes any more: name -> bytes and SHA-256, all of it on disk. Raises OSError."""
        self._stop.set()
        self._work.result()
        self._read()
        found = {}
        for name, file in self._files.items():
            os.fsync(file.file.fileno())
            found[name] = (file.bytes, file.digest.hexdigest())
        return found

    def _follow(self) -> None:
        while not self._stop.wait(_PAUSE):
            self._read()

    def _read(self) -> None:
        for path in self._directory.iterdir():
            if path.name not in self._without and path.name not in self._files and path.is_file():
                self._files[path.name] = _File(self._open.enter_context(path.open("rb")))
        for file in self._files.values():
            file.read()


class _File:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.digest: Any = hashlib.sha256()
        self.bytes = 0
        self._unflushed = 0

    def read(self) -> None:
        """Up to the present end."""
        while piece := self.file.read(_PIECE):
            self.digest.update(piece)
            self.bytes += len(piece)
            self._unflushed += len(piece)
            if self._unflushed >= _FLUSH:
                os.fsync(self.file.fileno())
                self._unflushed = 0
