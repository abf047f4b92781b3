"""The database that will serve: a copy of the one that does, migrated by the target's own migrations."""

from __future__ import annotations

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.errors import ReleaseError
from liftlock.model.deployment import Role
from liftlock.releases.tools import ReleaseTools
from liftlock.steps.migrate import target_environment
from liftlock.steps.sides import Sides

_DEADLINE = 7 * 24 * 3600.0


class MakeGreen(BaseStep):
    """Copy one database while people write to it, then migrate the copy. Taken back by dropping it."""

    def __init__(self, sides: Sides, role: Role, *, head: str) -> None:
        self.sides = sides
        self.role = role
        self.head = head
        self.name = f"migrate-{role.value}"
        self.title = f"copy the {role.value} database and migrate it"

    def probe(self, context: Context) -> Probe:
        """Only a migrated one that was noted counts; a copy is made anew."""
        store = self.sides.green[self.role].store
        if not store.exists():
            return Probe.NOT_STARTED
        noted = context.noted(self.name)
        return Probe.DONE if noted and store.revision() == self.head else Probe.PARTIAL

    def run(self, context: Context) -> None:
        """The copy is of one moment after capture began (I1), so what it lacks is in the log."""
        green = self.sides.green[self.role].store
        if green.exists():
            green.drop()
        self.sides.blue[self.role].copy_to(green, observer=context.observer)
        worker = self.sides.warmth.take()
        with side_effect(f"migrate green {self.role.value}"):
            if worker is not None:
                report = worker.migrate(green.uri, self.role, timeout=_DEADLINE, observer=context.observer)
            else:
                tools = ReleaseTools(target_environment(self.sides.new, context))
                report = tools.migrate(green.uri, self.role, timeout=_DEADLINE, observer=context.observer)
        if report.to_revision != self.head:
            raise ReleaseError(f"the migration ended at {report.to_revision}, expected {self.head}")
        context.note(
            self.name,
            {
                "from": report.from_revision,
                "to": report.to_revision,
                "revisions": [[revision, round(seconds, 4)] for revision, seconds in report.revisions],
            },
        )

    def result(self, context: Context) -> Payload:
        """The revisions that ran, with their seconds."""
        return context.noted(self.name) or {}

    def undo(self, context: Context) -> None:
        """Drop it: nobody has written to it but us (a cut-over before this was taken back first)."""
        self.sides.rules.close()
        self.sides.warmth.close()
        with side_effect(f"drop green {self.role.value}"):
            self.sides.green[self.role].store.drop()
