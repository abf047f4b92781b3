"""The server's log file: bounded by rotation, read from its end, redacted on the way out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from liftlock.clock import sleep
from liftlock.effects import side_effect
from liftlock.files import PRIVATE_FILE
from liftlock.model.secret import redact

_BLOCK = 1 << 16


def rotate(path: Path, *, max_bytes: int = 10 << 20, keep: int = 5) -> bool:
    """Move a log above `max_bytes` aside as `.1` (`.1` becomes `.2`, ... up to `keep`); whether it was done.

    The content is copied and the file then emptied, because the running server keeps it open for appending:
    what it writes between copy and truncation (milliseconds) is lost, as with logrotate's copytruncate.
    """
    try:
        if path.stat().st_size <= max_bytes:
            return False
    except FileNotFoundError:
        return False
    with side_effect("rotate server log"):
        for number in range(keep - 1, 0, -1):
            older = path.with_name(f"{path.name}.{number}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number + 1}"))
        copy = path.with_name(f"{path.name}.1")
        shutil.copyfile(path, copy)
        copy.chmod(PRIVATE_FILE)
        with path.open("r+b") as file:
            file.truncate(0)
    return True


def tail(path: Path, lines: int, *, since: int = 0) -> tuple[str, ...]:
    """The last lines of a log, redacted, not reading before byte `since`; empty when there is no log."""
    return tuple(redact(line) for line in _raw_tail(path, lines, since)[0])


def follow(path: Path, lines: int, *, interval: float = 0.3) -> Iterator[str]:
    """The last lines, then each new one as it is written, redacted, until the caller stops asking.

    A log that was truncated or replaced is read from its start.
    """
    last, position = _raw_tail(path, lines, 0)
    yield from map(redact, last)
    part = b""
    while True:
        size = path.stat().st_size if path.exists() else 0
        if size < position:
            position, part = 0, b""
        if size > position:
            with path.open("rb") as file:
                file.seek(position)
                part += file.read(size - position)
                position = size
            *whole, part = part.split(b"\n")
            yield from (redact(line.decode("utf-8", "replace")) for line in whole)
        else:
            sleep(interval)


def _raw_tail(path: Path, lines: int, since: int) -> tuple[list[str], int]:
    try:
        with path.open("rb") as file:
            end = position = file.seek(0, 2)
            data = b""
            while position > since and data.count(b"\n") <= lines:
                step = min(_BLOCK, position - since)
                position -= step
                file.seek(position)
                data = file.read(step) + data
    except FileNotFoundError:
        return [], 0
    return data.decode("utf-8", "replace").splitlines()[-lines:] if lines else [], end
