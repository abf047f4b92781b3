"""Does liftlock.toml describe the server that really runs?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts, known
from liftlock.describe.observe import contradictions
from liftlock.model.finding import Finding


class ConfigurationIsTrue(Check):
    """The store URIs, release, port, directory and environment in liftlock.toml are those of the running process.

    They are compared with the process's own arguments and environment: backing up or migrating another
    database than the one in use would be worse than doing nothing. The running server is always right.
    """

    code = "LLC002"
    title = "Configuration equals the running server"

    def answer(self, facts: Facts) -> Finding:
        """Fail with the first contradiction."""
        if facts.running is None:
            raise DoesNotApply("no server runs, so there is nothing to compare with")
        running = known(facts.running)
        wrong = contradictions(facts.config, running)
        if wrong:
            return self.failed(
                "; ".join(wrong),
                f"The server is right: correct the file, or run `liftlock init --process {running.handle.pid}`.",
            )
        return self.passed("store URIs, release, port and environment agree")
