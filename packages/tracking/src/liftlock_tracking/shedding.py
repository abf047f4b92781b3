"""Drop the oldest metric points of a full spool (LIFTLOCK_TRACKING_FULL=drop-metrics), and nothing but points.

A file is written anew without them under the name of its next generation: the rename is the moment that counts, and
a file that has a successor is no longer looked at (segments.py). So a kill leaves one of the two, whole.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any, Optional

from liftlock_tracking import records
from liftlock_tracking.limits import only_points
from liftlock_tracking.segments import TEMPORARY, Segment, read_window, successor
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State


def shed(spool: Spool, state: State, excess: int) -> int:
    """Free about `excess` bytes (more is not touched); returns how many points were dropped. Raises OSError.

    Called by the thread that ships, so that no window is under way: files of processes that are gone first, being
    older, then this process's own.
    """
    dropped = 0
    for path, descriptor in spool.orphans():
        if excess <= 0:
            break
        offset, size = state.marked(path.name), os.fstat(descriptor).st_size
        thinned = _thin(path, descriptor, offset, size, excess)
        if thinned is not None:
            fresh, points = thinned
            excess -= size - offset - fresh.size
            spool.lighter(size - fresh.size)
            dropped += points
            _follow(state, path, fresh)
            fresh.close()
    for segment in spool.sealed() if excess > 0 else []:
        if excess <= 0:
            break
        thinned = _thin(segment.path, segment.fd, segment.shipped, segment.size, excess)
        if thinned is not None:
            fresh, points = thinned
            excess -= segment.size - segment.shipped - fresh.size
            dropped += points
            _follow(state, segment.path, fresh)
            spool.replace(segment, fresh)
    return dropped


def _thin(path: Path, descriptor: int, offset: int, size: int, excess: int) -> Optional[tuple[Segment, int]]:
    """A file's records from `offset` on, without the first points, as a new locked file; None if it holds none."""
    fresh = Segment(path.with_name(path.name + TEMPORARY), 0)
    try:
        points = _copy(descriptor, offset, size, excess, fresh)
        if points:
            os.fdatasync(fresh.fd)
            return fresh, points
        fresh.path.unlink()
    except BaseException:
        # What is left of it is removed with other leftovers.
        fresh.close()
        raise
    fresh.close()
    return None


def _copy(descriptor: int, offset: int, size: int, excess: int, fresh: Segment) -> int:
    """Copy records but for the first points, `excess` bytes of them; how many points those were."""
    points = freed = 0
    while offset < size:
        good, bad, end = read_window(descriptor, offset, size, complete=True)
        kept = [damage.raw for damage in bad]
        for record in good:
            call: Optional[dict[str, Any]] = record.call
            if freed < excess and record.call.get("k") == "b" and "m" in record.call:
                points += len(record.call["m"])
                call = None if only_points(record.call) else {k: v for k, v in record.call.items() if k != "m"}
            frame = records.encode(records.dump(call)) if call is not None else b""
            freed += record.end - record.start - len(frame)
            kept.append(frame)
        fresh.write(b"".join(kept))
        offset = end
    return points


def _follow(state: State, path: Path, fresh: Segment) -> None:
    """The new file takes the old one's place; only the rename may fail."""
    target = successor(path)
    try:
        os.rename(fresh.path, target)
        fresh.path = target
        # Without this note what was sent and not marked is sent again as if for the first time; that does no harm
        # but to a model's history.
        with suppress(sqlite3.Error):
            state.succeed(path.name, target.name)
        with suppress(OSError):
            path.unlink()
    except BaseException:
        fresh.close()
        raise
