"""Can the target speak to the databases?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply, target_of
from liftlock.assess.facts import Broken, Facts, NotKnown, known
from liftlock.model.finding import Finding
from liftlock.model.uri import Engine


class DriverPresent(Check):
    """The target's environment has a driver for the databases' engine.

    With SQLAlchemy 2.1 `postgresql://` means psycopg 3 where it meant psycopg2 before: the same URI can need
    another driver in the new environment.
    """

    code = "LLC013"
    title = "Database driver in the target"

    def answer(self, facts: Facts) -> Finding:
        """Fail when the proof of the environment names no driver."""
        target = target_of(facts)
        engines = {facts.config.store_uri(role).engine for role in facts.config.roles()} - {Engine.SQLITE, Engine.FILE}
        if not engines:
            raise DoesNotApply("SQLite needs no driver")
        if isinstance(target.environment, Broken):
            return self.failed(target.environment.why, target.environment.hint)
        environment = known(target.environment)
        if environment.proof is None:
            raise NotKnown("the target's environment was not proven")
        if not environment.proof.drivers:
            return self.failed(
                f"the environment of MLflow {target.release} has no driver for {', '.join(sorted(engines))}",
                "Build it again with the driver: `liftlock releases` does so for the configured databases.",
            )
        return self.passed(", ".join(environment.proof.drivers))
