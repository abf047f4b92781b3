"""What is told: one event in words, as JSON for a program and as text for people. Pure."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from liftlock.model.codec import Value


class Event(enum.StrEnum):
    """What happened or is about to."""

    PLAN_READY = "plan-ready"
    FREEZE = "freeze"
    STARTED = "started"
    CUT_OVER = "cut-over"
    PUT_BACK = "put-back"
    NEEDS_PERSON = "needs-person"
    ROLLED_BACK = "rolled-back"
    BREACH = "breach"
    WINDOW_CLOSING = "window-closing"
    WINDOW_CLOSED = "window-closed"
    RELEASE = "release"
    TEST = "test"


class Message(Value, frozen=True):
    """One event. `owners` is role to name; `role` whom this copy reaches. Holds no secrets."""

    event: Event
    deployment: str
    text: str
    at: datetime
    by: str
    run: str = ""
    role: str = ""
    owners: dict[str, str] = msgspec.field(default_factory=dict)

    @property
    def title(self) -> str:
        """The subject of a mail, on one line."""
        return " ".join(f"[liftlock] {self.deployment}: {self.event.value}".split())

    def words(self) -> str:
        """The whole message for people, one fact a line."""
        lines = [self.text, "", f"deployment: {self.deployment}", f"when: {self.at:%Y-%m-%d %H:%M:%S} UTC"]
        lines += [f"by: {self.by}"] + ([f"run: {self.run}"] if self.run else [])
        lines += [f"{role}: {name}" for role, name in self.owners.items()]
        return "\n".join(lines)
