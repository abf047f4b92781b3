"""What liftlock needs of an artifact store: an inventory, a verified copy, a comparison, a restore."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from liftlock.model.codec import Value
from liftlock.model.progress import Observer, silent


class ArtifactFile(Value, frozen=True):
    """One artifact: path relative to the root (POSIX), size in bytes, SHA-256, modification time in ns."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int


Skip = Callable[[str, str], None]
"""Told of a file that was left out: its path relative to the root, and the reason in a few words."""


class ArtifactStore(Protocol):
    """One root of artifacts. All methods raise ArtifactError.

    The server may be live: files can vanish or change while they are read. With `on_skip` such a file is left out
    and reported; without it the first one raises ArtifactError.
    """

    def inventory(
        self, *, known: Iterable[ArtifactFile] = (), on_skip: Skip | None = None, observer: Observer = silent
    ) -> tuple[ArtifactFile, ...]:
        """All files, sorted by path; those equal to `known` in size and time are not read again."""
        ...

    def copy(
        self, files: Iterable[ArtifactFile], target: Path, *, on_skip: Skip | None = None, observer: Observer = silent
    ) -> int:
        """Copy files below `target` (reflink where the file system can), verified; bytes really written."""
        ...

    def verify(self, files: Iterable[ArtifactFile], *, observer: Observer = silent) -> tuple[str, ...]:
        """What is missing or different from the inventory, one line each."""
        ...

    def restore(self, files: Iterable[ArtifactFile], source: Path, *, observer: Observer = silent) -> int:
        """Put missing or different files back from `source`; extra files stay. Bytes written."""
        ...
