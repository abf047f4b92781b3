"""Are the databases at the revision the running release expects?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, known
from liftlock.model import shared_schema
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding


class AtExpectedHead(Check):
    """Each database's Alembic revision is the head of the release that runs.

    A database behind it is migrated silently at the next start of the server; one ahead of it keeps
    the server from starting ("Can't locate revision"), unless a rolling upgrade gave it a version table of its own.
    """

    code = "LLC004"
    title = "Databases at the head of the running release"

    def answer(self, facts: Facts) -> Finding:
        """Fail for a database that is behind, ahead, or has no schema."""
        heads = known(facts.running_heads)
        release = facts.config.server.release
        wrong = []
        served = shared_schema.served(facts.config.server.environment)
        for role in facts.store_facts:
            revision, head = facts.store(role).revision, heads.head(role)
            if served is not None and role is Role.TRACKING:
                revision = served
            if revision is None:
                wrong.append(f"the {role} store has no MLflow schema")
            elif revision in heads.chain(role) and revision != head:
                wrong.append(f"the {role} store is at {revision}, behind {head}, which MLflow {release} expects")
            elif revision != head:
                wrong.append(f"the {role} store is at {revision}, which MLflow {release} does not know")
        if wrong:
            return self.failed(
                "; ".join(wrong), "Is server.release right? Was the database migrated by another release?"
            )
        return self.passed(", ".join(f"{role}: {heads.head(role)}" for role in facts.store_facts))
