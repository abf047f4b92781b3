"""Named side effects: every action of ours on the world happens inside one, so tests can kill at each.

`with side_effect("stop server"):` costs nothing in normal use. With LIFTLOCK_CRASH_AT set to
`before:NAME` or `after:NAME` the process kills itself with SIGKILL at that point (as a power cut would); a name
that occurs several times is told apart by its number, `after:NAME#3` (counted from 1, without one the first). With
LIFTLOCK_STOP_AT it stops there (SIGSTOP), for a test that does harm to others at that very point. And with
LIFTLOCK_EFFECTS_LOG set to a file each name is appended to it, so that a test can enumerate the points of a whole
upgrade before it kills at every one of them. The idea is SQLite's and pgBackRest's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_FAULTS = {"LIFTLOCK_CRASH_AT": signal.SIGKILL, "LIFTLOCK_STOP_AT": signal.SIGSTOP}
_LOG = "LIFTLOCK_EFFECTS_LOG"
_seen: dict[str, int] = {}
_lock = threading.Lock()


@contextmanager
def side_effect(name: str) -> Iterator[None]:
    """Mark one action on the world; `name` is stable and says what is done (`restore tracking`)."""
    number = _count(name)
    _record(name)
    _crash(f"before:{name}", number)
    yield
    _crash(f"after:{name}", number)


def _count(name: str) -> int:
    with _lock:  # two threads may act at once
        _seen[name] = _seen.get(name, 0) + 1
        return _seen[name]


def _record(name: str) -> None:
    if target := os.environ.get(_LOG):
        with open(target, "a", encoding="utf-8") as file:  # noqa: PTH123 - the test's own file, appended
            file.write(name + "\n")


def _crash(point: str, number: int) -> None:
    for variable, sent in _FAULTS.items():
        wanted = os.environ.get(variable)
        if wanted is not None and wanted in (f"{point}#{number}", point if number == 1 else None):
            os.kill(os.getpid(), sent)
