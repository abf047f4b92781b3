"""The inventory of one artifact root inside a set: one JSON line a file, plain also when the files are encrypted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from liftlock.artifacts.interface import ArtifactFile
from liftlock.backup.layout import ENCRYPTED
from liftlock.errors import BackupError
from liftlock.files import write_atomic
from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.snapshot import ArtifactSnapshot


class StoredArtifact(Value, frozen=True):
    """One artifact as it was (`path`, `bytes`, `sha256`, `mtime_ns`) and as it is stored (differs if encrypted)."""

    path: str
    bytes: int
    sha256: str
    mtime_ns: int
    stored_bytes: int
    stored_sha256: str

    @property
    def file(self) -> ArtifactFile:
        """The artifact as it was."""
        return ArtifactFile(path=self.path, bytes=self.bytes, sha256=self.sha256, mtime_ns=self.mtime_ns)


def stored(file: ArtifactFile, size: int, sha256: str) -> StoredArtifact:
    """An artifact with the size and SHA-256 of the bytes that hold it in the set."""
    return StoredArtifact(
        path=file.path,
        bytes=file.bytes,
        sha256=file.sha256,
        mtime_ns=file.mtime_ns,
        stored_bytes=size,
        stored_sha256=sha256,
    )


def stored_name(path: str, *, encrypted: bool) -> str:
    """The name under which a file lies in a set."""
    return path + ENCRYPTED if encrypted else path


def write_inventory(path: Path, entries: Iterable[StoredArtifact]) -> None:
    """Write the lines, sorted by path. Raises OSError."""
    write_atomic(path, "".join(f"{to_json(entry)}\n" for entry in sorted(entries, key=lambda entry: entry.path)))


def read_inventory(directory: Path, root: ArtifactSnapshot) -> tuple[StoredArtifact, ...]:
    """The artifacts of one root of the set in `directory`. Raises BackupError when it cannot be read."""
    path = directory / root.inventory
    try:
        return tuple(from_json(line, StoredArtifact) for line in path.read_bytes().split(b"\n") if line)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BackupError(f"{path} is damaged: {error}") from None
