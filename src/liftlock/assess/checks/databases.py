"""Can every database be read?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts, Unknown
from liftlock.model.finding import Finding


class DatabasesReachable(Check):
    """Every database the configuration names can be opened and read with the login given there."""

    code = "LLC003"
    title = "Databases reachable"

    def answer(self, facts: Facts) -> Finding:
        """Fail with the reason of each database that cannot be read."""
        wrong = [f"{role}: {found.why}" for role, found in facts.store_facts.items() if isinstance(found, Unknown)]
        if wrong:
            return self.failed("; ".join(wrong), "Check the URI and the password in .liftlock/secrets.env.")
        if not facts.store_facts:
            raise DoesNotApply("no database is named")
        stores = facts.known_stores()
        rows = sum(store.rows for store in stores)
        size = sum(store.bytes for store in stores)
        return self.passed(", ".join(f"{s.role}: {s.engine} {s.engine_version}" for s in stores), rows=rows, bytes=size)
