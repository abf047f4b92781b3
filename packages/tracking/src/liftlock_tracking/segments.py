"""The spool's files: names, locks, generations, and reading them in windows.

A file is locked (flock) by the process that writes it for as long as that process lives, so "its writer is
gone" is a fact the kernel tells, also after kill -9 and across containers on one machine.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Optional

from liftlock_tracking import records

WINDOW_BYTES = 1 << 20
WINDOW_WEIGHT = 2000
SUFFIX = ".seg"
TEMPORARY = ".new"
_GENERATION = re.compile(r"(?:\.g(\d+))?\.seg$")


class Segment:
    """One of this process's own files; `base` is what all earlier ones hold (bytes)."""

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self.size = 0
        self.synced = 0
        self.shipped = 0
        while True:
            self.fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600)
            fcntl.flock(self.fd, fcntl.LOCK_EX)
            if os.fstat(self.fd).st_nlink:
                break
            # Before it was locked, another process took the empty file for one that nobody writes, and removed it.
            self.close()

    def write(self, frame: bytes) -> None:
        """Append bytes, all of them or none. Raises OSError."""
        done = 0
        try:
            while done < len(frame):
                done += os.write(self.fd, frame[done:] if done else frame)
        except OSError:
            if done:
                # Half a record (a full disk): take it back, so that the next record is found.
                with suppress(OSError):
                    os.ftruncate(self.fd, self.size)
            raise
        self.size += len(frame)

    def close(self) -> None:
        """Give the file and its lock back."""
        with suppress(OSError):
            os.close(self.fd)


def segment_files(folder: Path) -> list[Path]:
    """The spool's files, oldest first; of a file and its successor only the successor."""
    newest: dict[str, tuple[int, Path]] = {}
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            if path.name.endswith(SUFFIX):
                stem, number = _generation(path)
                newest[stem] = max(newest.get(stem, (-1, path)), (number, path))
    return [newest[stem][1] for stem in sorted(newest)]


def successor(path: Path) -> Path:
    """The name of the file that will take this one's place."""
    stem, number = _generation(path)
    return path.with_name(f"{stem}.g{number + 1}{SUFFIX}")


def _generation(path: Path) -> tuple[str, int]:
    found = _GENERATION.search(path.name)
    return (path.name[: found.start()], int(found[1] or 0)) if found else (path.name, 0)


def leftovers(folder: Path) -> list[Path]:
    """Files with a successor, and successors that were never finished: what a kill while dropping points left."""
    kept = set(segment_files(folder))
    found = []
    with suppress(FileNotFoundError):
        for path in folder.iterdir():
            followed = path.name.endswith(SUFFIX) and path not in kept
            if followed or (path.name.endswith(SUFFIX + TEMPORARY) and not owner_lives(path)):
                found.append(path)
    return found


def adopt(path: Path) -> Optional[int]:
    """Lock a file whose writer is gone; None if it still lives or the file was just removed."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink == 0:
            raise OSError
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def owner_lives(path: Path) -> bool:
    """Whether the process that writes a spool file still runs."""
    descriptor = adopt(path)
    if descriptor is None:
        return path.exists()
    os.close(descriptor)
    return False


def read_window(
    descriptor: int, offset: int, size: int, *, complete: bool
) -> tuple[list[records.Record], list[records.Damage], int]:
    """Records from `offset` on, about WINDOW_BYTES of them (at least one whole), and the offset behind them.

    No more than WINDOW_WEIGHT: a window that is not sent whole is sent again, so it must not take long. What goes into
    a batch weighs 1, a request of its own 20.
    """
    want = min(WINDOW_BYTES, size - offset)
    while True:
        data = os.pread(descriptor, want, offset)
        last = offset + len(data) >= size
        good: list[records.Record] = []
        bad: list[records.Damage] = []
        end = offset
        weight = 0
        for item in records.scan(data, offset, complete=complete and last):
            if isinstance(item, records.Record):
                good.append(item)
                weight += 1 if item.call.get("k") == "b" else 20
            else:
                bad.append(item)
            end = item.end
            if weight >= WINDOW_WEIGHT:
                return good, bad, end
        if last or good:
            if not last and bad and bad[-1].start >= good[-1].end:
                # Damage at the very end of a part may be a record that goes on behind it.
                end = bad.pop().start
            return good, bad, end
        if len(data) < want:
            return good, bad, end
        want = min(want * 4, size - offset)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, which only their owner can enter."""
    if folder.is_dir():
        return
    make_private(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
