"""Are SQLite files sound?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts, NotKnown
from liftlock.model.finding import Finding
from liftlock.model.uri import Engine


class DatabasesSound(Check):
    """SQLite's own `quick_check` and `foreign_key_check` find nothing.

    A migration rebuilds tables and stops at, or spreads, what is damaged. PostgreSQL checks its pages itself.
    """

    code = "LLC010"
    title = "SQLite integrity"

    def answer(self, facts: Facts) -> Finding:
        """Fail with the first problems found."""
        files = [role for role in facts.store_facts if facts.config.store_uri(role).engine is Engine.SQLITE]
        if not files:
            raise DoesNotApply("no database is a SQLite file")
        problems = []
        for role in files:
            if role not in facts.stores:
                raise NotKnown(f"the {role} store cannot be opened")
            problems += [f"{role}: {problem}" for problem in facts.stores[role].check_integrity()]
        if problems:
            more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
            return self.failed("; ".join(problems[:3]) + more, "Restore a backup, or repair with sqlite3 `.recover`.")
        return self.passed()
