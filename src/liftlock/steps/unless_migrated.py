"""Steps that are taken back only while the database is as it was: once it is migrated, the old release needs them."""

from __future__ import annotations

from collections.abc import Callable

from liftlock.engine.interface import Context, Payload, Probe, Step
from liftlock.model.finding import Finding


class UnlessMigrated:
    """A step as it is, but that its undo does nothing once `migrated()` says so.

    A `rolling` upgrade that fails after the migration goes back to the old release, which then lives on the migrated
    database: through its own version table, on the server that was started for that.
    """

    def __init__(self, step: Step, migrated: Callable[[], bool]) -> None:
        self._step = step
        self._migrated = migrated
        self.name = step.name
        self.title = step.title
        self.reversibility = step.reversibility
        self.holds_writes = step.holds_writes

    def precheck(self, context: Context) -> tuple[Finding, ...]:
        """As the step's."""
        return self._step.precheck(context)

    def probe(self, context: Context) -> Probe:
        """As the step's."""
        return self._step.probe(context)

    def run(self, context: Context) -> None:
        """As the step's."""
        self._step.run(context)

    def result(self, context: Context) -> Payload:
        """As the step's."""
        return self._step.result(context)

    def undo(self, context: Context) -> None:
        """Nothing, where the old release depends on it."""
        if not self._migrated():
            self._step.undo(context)
