"""Is the passphrase of stored secrets known?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts, Unknown
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding, Severity

VARIABLE = "MLFLOW_CRYPTO_KEK_PASSPHRASE"


class PassphraseKnown(Check):
    """When the database holds encrypted secrets, the passphrase they need is part of the configuration.

    Without MLFLOW_CRYPTO_KEK_PASSPHRASE MLflow (3.8 and newer) uses one that is in its public source. With another
    passphrase than at writing, no secret can be read again, on a restored server neither.
    """

    code = "LLC017"
    title = "Passphrase of stored secrets"
    severity = Severity.ERROR

    def answer(self, facts: Facts) -> Finding:
        """Fail when the running server has a passphrase that the configuration lacks."""
        store = facts.store(Role.TRACKING)
        rows = next((table.rows for table in store.tables if table.name == "secrets"), 0)
        configured = bool(facts.config.environment().get(VARIABLE))
        running = facts.running
        used = running is not None and not isinstance(running, Unknown) and bool(running.environment.get(VARIABLE))
        if used and not configured:
            return self.failed(
                f"the running server has {VARIABLE}, server.environment has not", "Run `liftlock init` again."
            )
        if not rows:
            raise DoesNotApply("no secrets are stored")
        if configured:
            return self.passed(f"{VARIABLE} is set", secrets=rows)
        return self.passed(f"{VARIABLE} is not set: MLflow's public default protects the stored secrets", secrets=rows)
