"""Does the target release know where the databases are?"""

from __future__ import annotations

from liftlock.assess.check import Check, target_of
from liftlock.assess.facts import Facts, known
from liftlock.model.finding import Finding


class KnownToTarget(Check):
    """The target release knows each database's revision, so that it can migrate from there.

    A revision it does not know was written by a newer release (or by another application).
    """

    code = "LLC005"
    title = "Databases not ahead of the target"

    def answer(self, facts: Facts) -> Finding:
        """Fail for a revision that is not in the target's chain."""
        target = target_of(facts)
        heads = known(target.heads)
        wrong, counts = [], []
        for role in facts.store_facts:
            revision, chain = facts.store(role).revision, heads.chain(role)
            if revision is not None and revision not in chain:
                wrong.append(f"the {role} store is at {revision}, which MLflow {target.release} does not know")
            elif revision is not None:
                counts.append(f"{role}: {len(chain) - 1 - chain.index(revision)} to run")
        if wrong:
            return self.failed("; ".join(wrong), "Choose a release that is at least as new as the database.")
        return self.passed(", ".join(counts))
