"""What an operator says to a running upgrade from another terminal, and what the upgrade tells: two small files.

`control.json` is written by commands (`pause`, `resume`, `cut-over`), `progress.json` by the upgrade, for `status`.
"""

from __future__ import annotations

import enum
from datetime import datetime
from pathlib import Path

import msgspec

from liftlock import clock
from liftlock.errors import UsageError
from liftlock.files import private_directory, write_atomic
from liftlock.model.codec import Value, from_json, to_json

_CONTROL = "control.json"
_PROGRESS = "progress.json"


class Moment(enum.StrEnum):
    """When to cut over once both sides are equal: at once, when told, when nobody writes, or at a time."""

    AUTO = "auto"
    MANUAL = "manual"
    QUIET = "when-quiet"
    AT = "at"


class When(Value, frozen=True):
    """The moment to cut over; `at` only with `Moment.AT`."""

    moment: Moment = Moment.AUTO
    at: datetime | None = None

    @classmethod
    def parse(cls, text: str) -> When:
        """`auto`, `manual`, `when-quiet` or an ISO time such as `2026-11-21T22:00`. Raises UsageError."""
        if text in (Moment.AUTO, Moment.MANUAL, Moment.QUIET):
            return cls(moment=Moment(text))
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            raise UsageError(
                f"{text!r} is no moment to cut over",
                hint="Say auto, manual, when-quiet or a time such as 2026-11-21T22:00.",
            ) from None
        return cls(moment=Moment.AT, at=at.astimezone())


class Said(Value, frozen=True):
    """What the operator has said so far."""

    paused: bool = False
    cut_over: bool = False


class Stand(Value, frozen=True):
    """How far a running upgrade is. `lag` is in log entries, `eta` in seconds to the cut-over, None where unknown."""

    phase: str
    at: datetime
    lag: int = 0
    done: float = 0
    total: float | None = None
    unit: str = ""
    eta: float | None = None


class Control:
    """The two files of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._told = 0.0

    def said(self) -> Said:
        """What the operator wants now; nothing special where the file is missing."""
        try:
            return from_json((self.directory / _CONTROL).read_bytes(), Said)
        except FileNotFoundError:
            return Said()

    def say(self, *, paused: bool | None = None, cut_over: bool | None = None) -> Said:
        """Change what the operator wants."""
        now = self.said()
        new = Said(
            paused=now.paused if paused is None else paused,
            cut_over=now.cut_over if cut_over is None else cut_over,
        )
        private_directory(self.directory)
        write_atomic(self.directory / _CONTROL, to_json(new))
        return new

    def tell(self, stand: Stand, *, every: float = 0.5) -> None:
        """Write how far the upgrade is, at most every so many seconds."""
        now = clock.monotonic()
        if now - self._told >= every:
            self._told = now
            private_directory(self.directory)
            write_atomic(self.directory / _PROGRESS, to_json(stand))

    def stand(self) -> Stand | None:
        """What the upgrade told last, or None."""
        try:
            return from_json((self.directory / _PROGRESS).read_bytes(), Stand)
        except (FileNotFoundError, ValueError, msgspec.MsgspecError):
            return None
