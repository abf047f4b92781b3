"""Steps: the only things that act on the world during an upgrade. The engine knows nothing else of them."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from liftlock.model.finding import Finding
from liftlock.model.plan import Reversibility
from liftlock.model.progress import Observer, silent

Payload = dict[str, Any]


class Probe(enum.StrEnum):
    """What the world says about a step, asked on resume before anything else."""

    NOT_STARTED = "not-started"
    DONE = "done"
    PARTIAL = "partial"
    UNKNOWN = "unknown"


class Context:
    """What a step may know of its run: the run's id, outcomes of the steps before it, and a way to say things.

    `outcome(step)` is what that step's `run` returned, read back from the journal, so it survives a crash.
    `note` writes a durable entry at once: use it for a fact that an undo or a probe will need.
    """

    def __init__(
        self,
        run: str,
        outcomes: Mapping[str, Payload],
        *,
        notes: Mapping[str, Payload] | None = None,
        record: Callable[[str, Payload], None] | None = None,
        observer: Observer = silent,
    ) -> None:
        self.run = run
        self.observer = observer
        self._outcomes = dict(outcomes)
        self._notes = dict(notes or {})
        self._record = record

    def outcome(self, step: str) -> Payload:
        """What an earlier step returned; empty when it has not run."""
        return self._outcomes.get(step, {})

    def noted(self, key: str) -> Payload | None:
        """The last payload noted under this key in this run, or None."""
        return self._notes.get(key)

    def note(self, key: str, payload: Payload) -> None:
        """Make a fact durable before the effect that depends on it."""
        self._notes[key] = payload
        if self._record is not None:
            self._record(key, payload)

    def finished(self, step: str, payload: Payload) -> None:
        """The engine says that a step is done."""
        self._outcomes[step] = payload


class Step(Protocol):
    """One journalled step.

    `run` acts and returns nothing: what came of it is read back from the world (and from notes) by `result`, so a
    crash between the act and its record loses nothing. `run` is only called when the probe says NOT_STARTED (of a step
    without a way back again and again, while what it needs is away); `undo` in any state, any number of times.
    """

    name: str
    title: str
    reversibility: Reversibility
    holds_writes: bool

    def precheck(self, context: Context) -> tuple[Finding, ...]:
        """Look before acting; a blocking finding stops the run before this step's intent."""
        ...

    def probe(self, context: Context) -> Probe:
        """What is true in the world now, whatever the journal says."""
        ...

    def run(self, context: Context) -> None:
        """Act. Raises LiftlockError; NeedsPerson stops the run where it is, anything else puts it back."""
        ...

    def result(self, context: Context) -> Payload:
        """After DONE: what later steps and the evidence need, as JSON without secrets."""
        ...

    def undo(self, context: Context) -> None:
        """Take it back, wholly, from any state a crash may have left."""
        ...


class BaseStep:
    """What most steps share: no precheck, nothing to take back, an empty result."""

    name: str
    title: str
    reversibility: Reversibility = Reversibility.UNDO
    holds_writes: bool = False

    def precheck(self, context: Context) -> tuple[Finding, ...]:  # noqa: ARG002 - the interface's argument
        """Nothing to look at."""
        return ()

    def result(self, context: Context) -> Payload:  # noqa: ARG002 - the interface's argument
        """Nothing to tell."""
        return {}

    def undo(self, context: Context) -> None:
        """Nothing to take back."""
