"""Which processes have a SQLite database open: every open file of every process, compared by device and inode.

Linux only (/proc). Processes of other users can be looked into only by root; run as the server's user, its own
processes are seen.
"""

from __future__ import annotations

import os
from pathlib import Path

from liftlock.model.deployment import Writer
from liftlock.model.secret import redact
from liftlock.stores.sqlite_connection import side_files

_PROC = Path("/proc")
_SHOWN = 120


def writers(path: Path, *, ignore_pids: frozenset[int] = frozenset()) -> tuple[Writer, ...]:
    """Processes that hold the file, its log or its journal open for writing; this process is left out."""
    wanted = {identity for file in (path, *side_files(path)) if (identity := _identity(file))}
    skipped = ignore_pids | {os.getpid()}
    pids = sorted(int(entry) for entry in os.listdir(_PROC) if entry.isdigit())  # noqa: PTH208 - names are enough, and fast
    return tuple(
        Writer(pid=pid, description=_description(pid)) for pid in pids if pid not in skipped and _holds(pid, wanted)
    )


def _identity(path: Path | str) -> tuple[int, int] | None:
    try:
        stat = os.stat(path)  # noqa: PTH116 - called for every open file of the machine
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino)


def _holds(pid: int, wanted: set[tuple[int, int]]) -> bool:
    directory = f"{_PROC}/{pid}/fd"
    try:
        numbers = os.listdir(directory)  # noqa: PTH208 - names are enough, and fast
    except OSError:
        return False  # it has ended, or belongs to somebody else
    return any(_identity(f"{directory}/{number}") in wanted and _may_write(pid, number) for number in numbers)


def _may_write(pid: int, number: str) -> bool:
    try:
        lines = (_PROC / str(pid) / "fdinfo" / number).read_text().splitlines()
    except OSError:
        return False  # closed in the meantime
    flags = next((int(line.split()[1], 8) for line in lines if line.startswith("flags:")), os.O_RDWR)
    return flags & os.O_ACCMODE != os.O_RDONLY


def _description(pid: int) -> str:
    try:
        words = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        words = ""
    return redact(words)[:_SHOWN] or f"process {pid}"
