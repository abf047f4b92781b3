"""The only door to time, so that tests can hold it still."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current time, in UTC, with microseconds."""
    return datetime.now(UTC)


def stamp(moment: datetime | None = None) -> str:
    """A time as it appears in names of directories: `20261121T121940Z`."""
    return (moment or now()).strftime("%Y%m%dT%H%M%SZ")


def monotonic() -> float:
    """Seconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic()


def sleep(seconds: float) -> None:
    """Wait for the given number of seconds."""
    time.sleep(seconds)
