"""The spool on disk: one append-only file per process, rolled by size; files of dead processes are adopted.

A forked child opens a file of its own. Everything is readable by its owner alone.
"""

from __future__ import annotations

import errno
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
from liftlock_tracking.segments import (
    SUFFIX,
    Segment,
    adopt,
    leftovers,
    make_private,
    read_window,
    segment_files,
)  # fmt: skip
from liftlock_tracking.settings import Settings

ROLL_BYTES = 8 << 20


class Spool:
    """Append calls; hand them to the shipper in order. Positions are bytes over all of this process's files."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.folder = settings.spool
        self.segments: list[Segment] = []
        self.written = 0
        self.lost = 0
        self._foreign = 0
        self._waiting = 0
        self._seal = False
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
                segment.write(frame)
                self._waiting += len(frame) + call.get("size", 0)
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
        if self.segments and not self._seal and self.segments[-1].size + size <= ROLL_BYTES:
            return self.segments[-1]
        self._seal = False
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
        """Bytes of this process's own calls, artifacts included, still to be shipped."""
        return self._waiting

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

    def advance(self, segment: Segment, offset: int, artifacts: int = 0) -> bool:
        """Everything before `offset` arrived, with so many bytes of artifacts; whether the file is done and removed."""
        removed = False
        with self._lock:
            self._waiting -= offset - segment.shipped + artifacts
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
        self.written = self._shipped = self.lost = self._waiting = 0
        self._lock = threading.Lock()
        self.progress = threading.Condition(threading.Lock())

    # --- dropping what is oldest (shedding.py) ---------------------------------------------------------------

    def sealed(self) -> list[Segment]:
        """Own files with calls still to be shipped, oldest first; none of them is written to any more."""
        with self._lock:
            self._seal = True
            return [s for s in self.segments if s.shipped < s.size]

    def replace(self, old: Segment, fresh: Segment) -> None:
        """A shorter file takes the place of what was still to be shipped of `old`."""
        with self._lock:
            # Positions behind it stay what callers were told.
            fresh.base = old.base + old.size - fresh.size
            fresh.synced = fresh.size
            self._waiting -= old.size - old.shipped - fresh.size
            at = self.segments.index(old)
            self.segments[at : at + 1] = [fresh] if fresh.size else []
            old.close()
        if not fresh.size:
            fresh.path.unlink(missing_ok=True)
            fresh.close()

    # --- files of processes that are gone ----------------------------------------------------------------

    def orphans(self) -> Iterator[tuple[Path, int]]:
        """Files whose writer is gone, oldest first, each locked by us while the caller holds it."""
        own = {s.path.name for s in self.segments}
        for path in leftovers(self.folder):
            path.unlink(missing_ok=True)
        foreign = [path for path in segment_files(self.folder) if path.name not in own]
        self._foreign = 0
        for path in foreign:
            with suppress(OSError):
                self._foreign += path.stat().st_size
        for path in foreign:
            descriptor = adopt(path)
            if descriptor is None:
                continue
            try:
                yield path, descriptor
            finally:
                os.close(descriptor)

    def lighter(self, freed: int) -> None:
        """So many bytes of files of processes that are gone were dropped."""
        self._foreign -= freed
