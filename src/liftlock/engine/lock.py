"""One operator at a time: an OS lock that a dead process releases by itself, with its owner's name beside it."""

from __future__ import annotations

import fcntl
import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from liftlock import clock, files
from liftlock.errors import Refused
from liftlock.model.codec import Value, from_json, to_json


class Owner(Value, frozen=True):
    """Who holds the lock, since when, and for what."""

    operator: str
    pid: int
    since: datetime
    doing: str


def operator() -> str:
    """The person at work, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def exclusive(directory: Path, doing: str) -> Iterator[Owner]:
    """Hold the deployment's lock. Raises Refused, naming the other operator, when it is taken.

    flock is released by the kernel when its holder dies, so no stale lock ever needs a person. The file stays.
    """
    path = files.private_directory(directory) / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken(_owner(path)) from None
        owner = Owner(operator=operator(), pid=os.getpid(), since=clock.now(), doing=doing)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, to_json(owner).encode(), 0)
        yield owner
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def holder(directory: Path) -> Owner | None:
    """Who holds the lock now, or None."""
    path = directory / "lock"
    if not path.exists():
        return None
    descriptor = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _owner(path)
    finally:
        os.close(descriptor)
    return None


def _owner(path: Path) -> Owner | None:
    try:
        return from_json(path.read_bytes(), Owner)
    except ValueError:
        return None


def taken(owner: Owner | None) -> Refused:
    """The refusal for whoever comes while somebody is at work, whose name may not be written down yet (None)."""
    words = "another liftlock is at work on this deployment"
    if owner is not None:
        since = owner.since.strftime("%Y-%m-%d %H:%M:%S UTC")
        words = f"{owner.operator} (PID {owner.pid}) is at work on this deployment since {since}: {owner.doing}"
    return Refused(words, hint="Wait for it to end, or look with `liftlock status`.")
