"""Bring back what an earlier rollback parked because the old schema could not hold it."""

from __future__ import annotations

from liftlock.effects import side_effect
from liftlock.engine.interface import BaseStep, Context, Payload, Probe
from liftlock.online.parking import unpark
from liftlock.steps.sides import Sides

_LISTED = 20


class Unpark(BaseStep):
    """After the switch, so that nothing overwrites it. Entries stay until `finalize`: another rollback needs them."""

    name = "unpark"
    title = "bring back what an earlier rollback parked"

    def __init__(self, sides: Sides) -> None:
        self.sides = sides

    def probe(self, context: Context) -> Probe:
        """What is there already counts as brought back."""
        return Probe.NOT_STARTED

    def run(self, context: Context) -> None:
        """One transaction for each database."""
        imported, conflicts = 0, []
        for role, parking in self.sides.rules.parking.items():
            if not parking.counts():
                continue
            green = self.sides.green[role]
            shapes = green.shapes()
            with side_effect(f"unpark {role.value}"), green.applying() as target:
                found, _ = unpark(parking, target, shapes)
            imported += found.imported
            conflicts += [f"{entry}: {why}" for entry, why in found.conflicts]
        context.note(
            self.name, {"imported": imported, "conflicts": len(conflicts), "first_conflicts": conflicts[:_LISTED]}
        )

    def result(self, context: Context) -> Payload:
        """How many rows came back, and what could not."""
        return context.noted(self.name) or {}
