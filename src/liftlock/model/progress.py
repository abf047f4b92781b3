"""Progress of long work, observed from outside: the core reports, the command line shows."""

from __future__ import annotations

from collections.abc import Callable

from liftlock.model.codec import Value


class Progress(Value, frozen=True):
    """How far one piece of work is. `total` is None where it cannot be known; `unit` is rows, bytes or files."""

    work: str
    done: float = 0
    total: float | None = None
    unit: str = ""


Observer = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The observer that shows nothing."""
