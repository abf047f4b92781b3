"""Is the auth database there, with its own chain?"""

from __future__ import annotations

from liftlock.assess.check import Check, DoesNotApply
from liftlock.assess.facts import Facts
from liftlock.describe.auth import APP
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding

_TABLES = ("users", "experiment_permissions")


class AuthDatabase(Check):
    """With `--app-name basic-auth`, the auth database is configured, holds users, and has a revision of its own.

    It is a second database with a second chain of migrations; a backup without it restores a server nobody
    can log in to. In the same database as the runs, its old releases overwrite the runs' `alembic_version`.
    """

    code = "LLC007"
    title = "Auth database"

    def answer(self, facts: Facts) -> Finding:
        """Fail when it is missing, has no users table or shares a version table with the runs."""
        config = facts.config
        if config.server.app_name != APP:
            raise DoesNotApply("the server does not use basic-auth")
        if config.stores.auth is None:
            return self.failed("basic-auth is on, but stores.auth is not set", "Run `liftlock init` again.")
        found = facts.store(Role.AUTH)
        missing = [table for table in _TABLES if table not in {entry.name for entry in found.tables}]
        if missing:
            return self.failed(f"{found.uri} has no table {', '.join(missing)}", "Is stores.auth the right database?")
        if found.revision is None:
            return self.failed(f"{found.uri} has no revision", "Start the running release once; it writes it.")
        shared = config.store_uri(Role.AUTH).same_place(config.store_uri(Role.TRACKING))
        if shared and found.version_table == "alembic_version":
            return self.failed(
                "auth and tracking store share one database and one alembic_version table",
                "Move the auth tables to a database of their own before upgrading.",
            )
        users = next((table.rows for table in found.tables if table.name == "users"), 0)
        return self.passed(f"at {found.revision} in {found.version_table}", users=users)
