"""A wheel or an sdist as a set of files, read in place."""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from liftlock.errors import ReleaseError


class Archive:
    """The files of one distribution by their path below its root (`mlflow/cli.py`, `METADATA`, `setup.py`).

    `stamps` gives each a text that changes with its content, where the archive has one (wheels: CRC and size).
    `built` is the day the distribution was made, as its own entries say. Raises ReleaseError when it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_wheel = path.suffix == ".whl"
        self._zip: zipfile.ZipFile | None = None
        self._content: dict[str, bytes] = {}
        try:
            if self.is_wheel:
                self._zip = zipfile.ZipFile(path)
                self._names, self.stamps, self.built = _of_wheel(self._zip)
            else:
                self._content, self.built = _of_sdist(path)
                self._names = {name: name for name in self._content}
                self.stamps = {}
        except FileNotFoundError:
            raise ReleaseError(f"there is no {path}") from None
        except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error) as error:
            raise ReleaseError(f"{path.name} is damaged: {error}", hint="Delete it and fetch it again.") from error

    @property
    def names(self) -> tuple[str, ...]:
        """All paths, sorted."""
        return tuple(sorted(self._names))

    def read(self, name: str) -> bytes:
        """The content of one file. Raises KeyError when there is none, ReleaseError when it is damaged."""
        inside = self._names[name]
        try:
            return self._zip.read(inside) if self._zip is not None else self._content[inside]
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise ReleaseError(
                f"{self.path.name} is damaged at {name}: {error}", hint="Delete it and fetch it again."
            ) from error

    def close(self) -> None:
        """Let go of the file."""
        if self._zip is not None:
            self._zip.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _of_wheel(file: zipfile.ZipFile) -> tuple[dict[str, str], dict[str, str], str]:
    names: dict[str, str] = {}
    stamps: dict[str, str] = {}
    built = ""
    for entry in file.infolist():
        head, _, rest = entry.filename.partition("/")
        name = rest if head.endswith(".dist-info") else entry.filename
        names[name] = entry.filename
        stamps[name] = f"{entry.CRC:08x}{entry.file_size}"
        if name == "METADATA":
            built = "{:04}-{:02}-{:02}".format(*entry.date_time[:3])
    return names, stamps, built


def _of_sdist(path: Path) -> tuple[dict[str, bytes], str]:
    """The text files, read in one pass: a compressed tar has no quick way to the middle."""
    content: dict[str, bytes] = {}
    built = ""
    with tarfile.open(path) as tar:
        for entry in tar:
            name = entry.name.partition("/")[2]
            if not entry.isfile() or not (name.endswith(".py") or name == "PKG-INFO"):
                continue
            file = tar.extractfile(entry)
            assert file is not None
            content[name] = file.read()
            if name == "PKG-INFO":
                built = datetime.fromtimestamp(entry.mtime, UTC).strftime("%Y-%m-%d")
    return content, built
