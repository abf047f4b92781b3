"""Does the target release really start here?"""

from __future__ import annotations

from liftlock.assess.check import Check, target_of
from liftlock.assess.facts import Broken, Facts, NotKnown, known
from liftlock.model.finding import Finding


class TargetStarts(Check):
    """An environment for the target was built from the package index, imported MLflow and started a server.

    That a release can be listed or even installed proves little: today's resolver breaks most older releases.
    """

    code = "LLC012"
    title = "Target installable and starting"

    def answer(self, facts: Facts) -> Finding:
        """Fail when building or starting failed; unknown when it was not tried."""
        target = target_of(facts)
        if isinstance(target.environment, Broken):
            return self.failed(target.environment.why, target.environment.hint)
        environment = known(target.environment)
        if environment.release != target.release:
            return self.failed(f"the environment holds MLflow {environment.release}, not {target.release}")
        if environment.proof is None or environment.proof.start_seconds is None:
            raise NotKnown(f"MLflow {target.release} was installed but not started yet")
        seconds = environment.proof.start_seconds
        return self.passed(f"MLflow {target.release} started in {seconds:.1f} s", start_seconds=round(seconds, 1))
