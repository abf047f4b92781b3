"""Named side effects: every action of ours on the world happens inside one, so tests can kill at each.

`with side_effect("stop server"):` costs nothing in normal use. With LIFTLOCK_CRASH_AT set to
`before:NAME` or `after:NAME` the process kills itself with SIGKILL at that point (as a power cut would),
and with LIFTLOCK_EFFECTS_LOG set to a file each name is appended to it, so that a test can enumerate
the points of a whole upgrade before it kills at every one of them. The idea is SQLite's and pgBackRest's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

_CRASH = "LIFTLOCK_CRASH_AT"
_LOG = "LIFTLOCK_EFFECTS_LOG"


@contextmanager
def side_effect(name: str) -> Iterator[None]:
    """Mark one action on the world; `name` is stable and says what is done (`restore tracking`)."""
    _record(name)
    _crash(f"before:{name}")
    yield
    _crash(f"after:{name}")


def _record(name: str) -> None:
    if target := os.environ.get(_LOG):
        with open(target, "a", encoding="utf-8") as file:  # noqa: PTH123 - the test's own file, appended
            file.write(name + "\n")


def _crash(point: str) -> None:
    if os.environ.get(_CRASH) == point:
        os.kill(os.getpid(), signal.SIGKILL)
