"""The spool on disk: one append-only file per process, rolled by size; files of dead processes are adopted.

A file is locked (flock) by the process that writes it for as long as that process lives, so "its writer is
gone" is a fact the kernel tells, also after kill -9 and across containers on one machine. A forked child
opens a file of its own. Everything is readable by its owner alone.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from liftlock_tracking import records
from liftlock_tracking.quiet import warn
from liftlock_tracking.settings import Settings

_log = logging.getLogger("liftlock_tracking")
ROLL_BYTES = 8 << 20
WINDOW_BYTES = 1 << 20
SUFFIX = ".seg"


class Segment:
    """One of this process's own files; `base` is what all earlier ones hold (bytes)."""

    def __init__(self, path: Path, base: int) -> None:
        self.path = path
        self.base = base
        self.size = 0
        self.synced = 0
        self.shipped = 0
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND
        self.fd = os.open(path, flags, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)

    def close(self) -> None:
        """Give the file and its lock back."""
        with suppress(OSError):
            os.close(self.fd)


class Spool:
    """Append calls; hand them to the shipper in order. Positions are bytes over all of this process's files."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.spool
        self.segments: list[Segment] = []
        self.written = 0
        self.lost = 0
        self._foreign = 0
        self._lock = threading.Lock()
        self.progress = threading.Condition(threading.Lock())
        self._shipped = 0

    # --- writing ---------------------------------------------------------------------------------------

    def append(self, call: dict[str, Any]) -> Optional[int]:
        """Write one call; returns the position behind it, or None if it could not be kept (counted, said)."""
        frame = records.encode(records.dump(call))
        try:
            with self._lock:
                segment = self._writable(len(frame))
                self._write(segment, frame)
                segment.size += len(frame)
                self.written = segment.base + segment.size
                position = self.written
                if self.settings.fsync == "always":
                    os.fdatasync(segment.fd)
                    segment.synced = segment.size
                return position
        except OSError as problem:
            self.lose(call, problem)
            return None

    def _writable(self, size: int) -> Segment:
        if self.segments and self.segments[-1].size + size <= ROLL_BYTES:
            return self.segments[-1]
        make_private(self.folder)
        note = self.folder / "server"
        if not note.exists():
            # So that `liftlock-tracking ship` knows where to send.
            descriptor = os.open(note, os.O_CREAT | os.O_WRONLY, 0o600)
            os.write(descriptor, self.settings.uri.encode())
            os.close(descriptor)
        name = f"{time.time_ns():020d}-{os.getpid()}-{uuid.uuid4().hex[:6]}{SUFFIX}"
        segment = Segment(self.folder / name, self.written)
        self.segments.append(segment)
        return segment

    @staticmethod
    def _write(segment: Segment, frame: bytes) -> None:
        done = 0
        try:
            while done < len(frame):
                done += os.write(segment.fd, frame[done:] if done else frame)
        except OSError:
            if done:
                # Half a record (a full disk): take it back, so that the next record is found.
                with suppress(OSError):
                    os.ftruncate(segment.fd, segment.size)
            raise

    def lose(self, call: dict[str, Any], problem: Exception) -> None:
        """A call could not be kept: count it and say so; the application goes on."""
        self.lost += 1
        what = "no space left" if getattr(problem, "errno", None) == errno.ENOSPC else str(problem)
        warn("lost", "liftlock-tracking lost a call (%s); %d lost so far: %s", call.get("k"), self.lost, what)

    def sync(self) -> None:
        """Flush what was written to the disk itself."""
        with self._lock:
            behind = [s for s in self.segments if s.synced < s.size]
            sizes = [s.size for s in behind]
            descriptors = [os.dup(s.fd) for s in behind]
        for segment, size, descriptor in zip(behind, sizes, descriptors):
            try:
                os.fdatasync(descriptor)
                segment.synced = size
            except OSError as problem:
                warn("sync", "liftlock-tracking could not flush its spool to disk: %s", problem)
            finally:
                os.close(descriptor)

    # --- shipping --------------------------------------------------------------------------------------

    @property
    def shipped(self) -> int:
        """Position up to which everything has arrived (or was refused and kept aside)."""
        return self._shipped

    def pending(self) -> int:
        """Bytes of this process's own calls still to be shipped."""
        return self.written - self._shipped

    def size(self) -> int:
        """Bytes the spool holds: this process's, and the others' when last looked at."""
        return self.pending() + self._foreign

    def window(self) -> Optional[tuple[Segment, list[records.Record], list[records.Damage], int]]:
        """The next calls to ship: the file, its records, its damage, and the offset behind them."""
        with self._lock:
            waiting = [(s, s.size) for s in self.segments if s.shipped < s.size]
        if not waiting:
            return None
        segment, size = waiting[0]
        good, bad, end = read_window(segment.fd, segment.shipped, size, complete=True)
        return segment, good, bad, end

    def advance(self, segment: Segment, offset: int) -> bool:
        """Everything before `offset` arrived; says whether the whole file did and was removed."""
        removed = False
        with self._lock:
            segment.shipped = offset
            whole = offset >= segment.size
            if whole and (segment is not self.segments[-1] or segment.size >= ROLL_BYTES // 8):
                self.segments.remove(segment)
                segment.path.unlink(missing_ok=True)
                segment.close()
                removed = True
        with self.progress:
            self._shipped = max(self._shipped, segment.base + offset)
            self.progress.notify_all()
        return removed

    def wait(self, position: int, seconds: float) -> bool:
        """Wait until everything before `position` arrived; says whether it did within `seconds`."""
        if self._shipped >= position:
            return True
        if seconds <= 0:
            return False
        with self.progress:
            return self.progress.wait_for(lambda: self._shipped >= position, timeout=seconds)

    def close(self) -> None:
        """At the end of the process: remove own files that are shipped whole, leave the others."""
        with self._lock:
            for segment in self.segments:
                if segment.shipped >= segment.size:
                    segment.path.unlink(missing_ok=True)
                segment.close()
            self.segments = []

    def after_fork(self) -> None:
        """In a forked child: nothing written here is mine, and the locks may be held by threads that are gone."""
        for segment in self.segments:
            segment.close()
        self.segments = []
        self.written = self._shipped = self.lost = 0
        self._lock = threading.Lock()
        self.progress = threading.Condition(threading.Lock())

    # --- files of processes that are gone ----------------------------------------------------------------

    def orphans(self) -> Iterator[tuple[Path, int]]:
        """Files whose writer is gone, oldest first, each locked by us while the caller holds it."""
        own = {s.path.name for s in self.segments}
        foreign = 0
        for path in segment_files(self.folder):
            if path.name in own:
                continue
            with suppress(OSError):
                foreign += path.stat().st_size
            descriptor = adopt(path)
            if descriptor is None:
                continue
            try:
                yield path, descriptor
            finally:
                os.close(descriptor)
        self._foreign = foreign


def segment_files(folder: Path) -> list[Path]:
    """The spool's files, oldest first."""
    try:
        return sorted(p for p in folder.iterdir() if p.name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


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


def read_window(
    descriptor: int, offset: int, size: int, *, complete: bool
) -> tuple[list[records.Record], list[records.Damage], int]:
    """Records from `offset` on, about WINDOW_BYTES of them (at least one whole), and the offset behind them."""
    want = min(WINDOW_BYTES, size - offset)
    while True:
        data = os.pread(descriptor, want, offset)
        last = offset + len(data) >= size
        good: list[records.Record] = []
        bad: list[records.Damage] = []
        end = offset
        for item in records.scan(data, offset, complete=complete and last):
            if isinstance(item, records.Record):
                good.append(item)
            else:
                bad.append(item)
            end = item.end
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
