"""How an old release lives on a database that a newer one migrated: with an `alembic_version` of its own.

A server asks `alembic_version` by its bare name at its start and dies (or migrates) when it finds a revision that is
not its own. PostgreSQL finds bare names along the search path, so a schema with nothing but that one table in front
of `public` lets each release find its own revision. libpq takes the search path from a variable of the server's
environment, so the URIs stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

VARIABLE = "PGOPTIONS"
PREFIX = "liftlock_"
_SERVED = re.compile(rf"-c search_path={PREFIX}(?P<revision>[0-9a-z]+),public")


def schema(revision: str) -> str:
    """The schema that holds the version table of a release at this revision."""
    return PREFIX + revision


def variables(revision: str) -> dict[str, str]:
    """What a server of that release needs in its environment."""
    return {VARIABLE: f"-c search_path={schema(revision)},public"}


def served(environment: Mapping[str, str]) -> str | None:
    """The revision that a server with this environment believes its database to be at; None where it asks `public`."""
    found = _SERVED.fullmatch(environment.get(VARIABLE, ""))
    return found["revision"] if found else None


def without(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a server that asks `public`."""
    return {name: value for name, value in environment.items() if not (name == VARIABLE and _SERVED.fullmatch(value))}
