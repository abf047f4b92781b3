"""Is the tracking store a directory?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding
from liftlock.model.uri import Engine


class NoFileStore(Check):
    """The tracking store is a database, not a directory such as `./mlruns`.

    From 3.7 on SQLite is the default, and from 3.13 on MLflow refuses file stores.
    """

    code = "LLC016"
    title = "No file store"

    def answer(self, facts: Facts) -> Finding:
        """Fail for a directory."""
        uri = facts.config.store_uri(Role.TRACKING)
        if uri.engine is Engine.FILE:
            return self.failed(
                f"the tracking store {uri} is a directory",
                "`mlflow migrate-filestore` (3.10 and newer) copies it into a SQLite database.",
            )
        return self.passed(f"{uri.engine}")
