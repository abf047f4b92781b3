"""A small file system of its own, to be filled."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)], capture_output=True, text=True
    )
    if done.returncode != 0:
        pytest.skip(f"a small file system needs root and mount: {done.stderr.strip()}")  # reason: rights of the machine
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
