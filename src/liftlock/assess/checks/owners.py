"""Does somebody else use alembic_version in our databases?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, Unknown
from liftlock.model import shared_schema
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.finding import Finding

_OURS = ("alembic_version", "alembic_version_auth")


class NoForeignOwners(Check):
    """No other application keeps its Alembic revision in MLflow's databases.

    Optuna, some plugins and MLflow's own auth store have done so: two owners in one `alembic_version`
    table stop every migration, and a restore of the database would take the other application's data along.
    """

    code = "LLC006"
    title = "No foreign owners of alembic_version"

    def answer(self, facts: Facts) -> Finding:
        """Fail for a version table or row that no MLflow chain explains."""
        wrong = []
        for store in facts.known_stores():
            for table, rows in store.versions.items():
                if table.startswith(shared_schema.PREFIX):
                    continue  # a rolling upgrade's, for the old release
                if table not in (*_OURS, store.version_table):
                    wrong.append(f"the {store.role} store has a table {table} ({', '.join(rows) or 'empty'})")
                elif len(rows) > 1:
                    wrong.append(f"{table} of the {store.role} store has {len(rows)} rows: {', '.join(rows)}")
                elif table == "alembic_version_auth" and store.role is not Role.AUTH and not _shared(facts):
                    wrong.append(f"the {store.role} store has a table {table}, but no auth store is configured there")
                elif rows and table == store.version_table and self._unknown(facts, store, rows[0]):
                    wrong.append(f"{table} of the {store.role} store says {rows[0]}, which is no revision of MLflow's")
        if wrong:
            return self.failed("; ".join(wrong), "Give the other application a database of its own first.")
        if not facts.known_stores() or any(isinstance(found, Unknown) for found in facts.store_facts.values()):
            return self.passed("as far as the databases could be read")
        return self.passed()

    def _unknown(self, facts: Facts, store: StoreFacts, revision: str) -> bool:
        """Whether every chain we know lacks the revision; without a chain nothing is claimed."""
        if shared_schema.served(facts.config.server.environment) is not None:
            return False  # a newer release migrated it, whose chain is not at hand
        heads = [facts.running_heads, facts.target.heads if facts.target else Unknown("")]
        chains = [known_heads.chain(store.role) for known_heads in heads if not isinstance(known_heads, Unknown)]
        return bool(chains) and all(revision not in chain for chain in chains)


def _shared(facts: Facts) -> bool:
    roles = facts.config.roles()
    if Role.AUTH not in roles:
        return False
    return facts.config.store_uri(Role.AUTH).same_place(facts.config.store_uri(Role.TRACKING))
