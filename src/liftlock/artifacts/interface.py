"""What liftlock needs of an artifact store: an inventory, a verified copy, a comparison, a restore."""

from __future__ import annotations

from collections.abc import Iterable
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


class ArtifactStore(Protocol):
    """One root of artifacts. All methods raise ArtifactError."""

    def inventory(self, *, known: Iterable[ArtifactFile] = (), observer: Observer = silent) -> tuple[ArtifactFile, ...]:
        """All files, sorted by path; those equal to `known` in size and time are not read again."""
        ...

    def copy(self, files: Iterable[ArtifactFile], target: Path, *, observer: Observer = silent) -> int:
        """Copy files below `target` (reflink or hard link where safe), verified; bytes really written."""
        ...

    def verify(self, files: Iterable[ArtifactFile], *, observer: Observer = silent) -> tuple[str, ...]:
        """What is missing or different from the inventory, one line each."""
        ...

    def restore(self, files: Iterable[ArtifactFile], source: Path, *, observer: Observer = silent) -> int:
        """Put missing or different files back from `source`; extra files stay. Bytes written."""
        ...
