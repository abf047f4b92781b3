"""Does the target run on the Python at hand?"""

from __future__ import annotations

from liftlock.assess.check import Check, target_of
from liftlock.assess.facts import Broken, Facts, Unknown, known
from liftlock.knowledge.constraints import python_range
from liftlock.model.finding import Finding, Severity


class PythonSuits(Check):
    """The target's environment has a Python the release runs on.

    MLflow 3.0 wants 3.9, 3.2 and newer 3.10: the Python of the old environment may be too old for the new one.
    """

    code = "LLC020"
    title = "Python of the target"
    severity = Severity.WARNING

    def answer(self, facts: Facts) -> Finding:
        """Fail when the Python of the target's environment (or, without one, of the running server) is outside."""
        target = target_of(facts)
        wanted = python_range(target.release)
        text = f"MLflow {target.release} runs on Python {wanted.minimum} to {wanted.maximum}"
        if not isinstance(target.environment, Unknown | Broken):
            version = target.environment.python_version
            if wanted.holds(version):
                return self.passed(f"{text}; its environment has {version}")
            return self.failed(f"{text}, but its environment has {version}", "Build the environment again.")
        running = known(facts.running) if facts.running is not None else None
        if running is None:
            return known(Unknown(f"{text}; no environment was built yet"))
        if wanted.holds(running.installed.python):
            return self.passed(f"{text}; the running server has {running.installed.python}")
        return self.failed(
            f"{text}, the running server has {running.installed.python}",
            f"Install a Python {wanted.maximum} on this machine; the old environment stays as it is.",
        )
