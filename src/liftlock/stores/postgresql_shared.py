"""One PostgreSQL database for two releases: the old one's version table, and connections that must begin anew.

See `model.shared_schema` for why.
"""

from __future__ import annotations

from psycopg import sql

from liftlock.effects import side_effect
from liftlock.model.shared_schema import PREFIX, schema
from liftlock.model.uri import StoreUri
from liftlock.stores.postgresql_connect import session
from liftlock.stores.postgresql_locks import transaction

_TABLE = "alembic_version"


def give(uri: StoreUri, revision: str) -> None:
    """Make the schema whose `alembic_version` says `revision`, readable by whoever may read `public`'s. Idempotent."""
    place = sql.Identifier(schema(revision))
    with session(uri) as connection, side_effect("make version schema"), transaction(connection):
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(place))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO PUBLIC").format(place))
        table = sql.Identifier(schema(revision), _TABLE)
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (version_num varchar(32) NOT NULL PRIMARY KEY)").format(table)
        )
        connection.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(table))
        connection.execute(sql.SQL("INSERT INTO {} VALUES (%s) ON CONFLICT DO NOTHING").format(table), (revision,))


def given(uri: StoreUri) -> tuple[str, ...]:
    """The revisions for which there is such a schema."""
    with session(uri) as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_catalog.pg_namespace WHERE starts_with(nspname, %s) ORDER BY 1", (PREFIX,)
        )
        return tuple(str(name).removeprefix(PREFIX) for (name,) in rows)


def take_away(uri: StoreUri, revision: str) -> None:
    """Drop the schema of a revision. Idempotent."""
    with session(uri) as connection, side_effect("drop version schema"):
        connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema(revision))))


def hang_up(uri: StoreUri) -> int:
    """End the idle sessions of other programs with our login; how many.

    A driver that keeps prepared statements (psycopg 3) fails with "cached plan must not change result type" after the
    schema changed under it. MLflow tests a connection before it uses it and makes a new one.
    """
    with session(uri) as connection, side_effect("hang up idle sessions"):
        ended = connection.execute(
            """SELECT count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity
                WHERE datname = current_database() AND usename = current_user AND state = 'idle'
                  AND pid <> pg_catalog.pg_backend_pid()"""
        ).fetchone()
    return int(ended[0]) if ended else 0
