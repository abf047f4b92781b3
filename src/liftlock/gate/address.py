"""A name for a Unix socket that the kernel takes: 107 bytes at most, however deep the deployment's directory lies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 107  # sun_path holds 108 bytes with the NUL (unix(7))


@contextmanager
def fitting(path: Path) -> Iterator[str]:
    """The path itself, or a short way to it through an open descriptor of its directory, for `bind` and `connect`."""
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
