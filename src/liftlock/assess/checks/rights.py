"""May the login do what an upgrade needs?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts
from liftlock.model.finding import Finding

_NEEDED = ("read", "write", "create table", "write directory")


class RightsSuffice(Check):
    """The login may read and write all tables and create new ones; SQLite files and directories are writable."""

    code = "LLC014"
    title = "Rights of the login"

    def answer(self, facts: Facts) -> Finding:
        """Fail with the abilities that are missing."""
        wrong, without_copy = [], []
        for role in facts.store_facts:
            rights = facts.store(role).rights
            wrong += [f"{role}: may not {name}" for name in _NEEDED if rights.get(name) is False]
            if rights.get("create database") is False:
                without_copy.append(str(role))
        if wrong:
            return self.failed("; ".join(wrong), "Grant the login these rights, or run liftlock as the server's user.")
        if without_copy:
            return self.passed(f"may not create databases beside {', '.join(without_copy)}: no rehearsal on a copy")
        return self.passed()
