"""Entries of the journal and the state they fold to."""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from liftlock.model.codec import Value


class Kind(enum.StrEnum):
    """What an entry says. INTENT is durable before the effect it announces."""

    RUN_STARTED = "run-started"
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    UNDO_INTENT = "undo-intent"
    UNDONE = "undone"
    NOTE = "note"
    RUN_ENDED = "run-ended"


class RunKind(enum.StrEnum):
    """What a journalled run is for."""

    UPGRADE = "upgrade"
    ROLLBACK = "rollback"
    REHEARSAL = "rehearsal"


class RunOutcome(enum.StrEnum):
    """How a run ended; OPEN until it did."""

    OPEN = "open"
    DONE = "done"
    PUT_BACK = "put-back"
    NEEDS_PERSON = "needs-person"
    ROLLED_BACK = "rolled-back"
    FINALIZED = "finalized"


class Entry(Value, frozen=True):
    """One line of the journal. `digest` chains over the content and the digest of the entry before."""

    seq: int
    run: str
    kind: Kind
    step: str
    at: datetime
    payload: dict[str, Any]
    previous: str
    digest: str


class StepState(Value, frozen=True):
    """Where one step stands by the journal alone (the world is asked by the step's probe)."""

    name: str
    last: Kind
    started_at: datetime
    ended_at: datetime | None
    outcome: dict[str, Any] = msgspec.field(default_factory=dict)


class RunState(Value, frozen=True):
    """One run, folded from its entries."""

    id: str
    kind: RunKind
    started_at: datetime
    ended_at: datetime | None
    outcome: RunOutcome
    operator: str
    payload: dict[str, Any]
    steps: tuple[StepState, ...]
    message: str = ""

    def step(self, name: str) -> StepState | None:
        """The state of one step, or None when it was never begun."""
        return next((step for step in self.steps if step.name == name), None)
