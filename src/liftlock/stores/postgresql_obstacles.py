"""Why a PostgreSQL database cannot be captured, or not be applied to: one sentence each, with a remedy."""

from __future__ import annotations

import secrets

import psycopg
from psycopg import sql

from liftlock.model.uri import StoreUri
from liftlock.stores.postgresql_apply import TAKE_ROLE
from liftlock.stores.postgresql_capture import has_schema
from liftlock.stores.postgresql_catalog import LIFTLOCK
from liftlock.stores.postgresql_connect import Connection, session
from liftlock.stores.postgresql_relations import Relation, read_relations

_PARTS = f"""
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{LIFTLOCK}')
   AND (c.relkind = 'p' OR (c.relkind = 'r' AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = c.oid)))
 ORDER BY 1
"""
_ALWAYS = """
SELECT t.tgname::text, t.tgrelid::regclass::text FROM pg_catalog.pg_trigger t
 WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND t.tgrelid = ANY (%s) ORDER BY 1, 2
"""


def obstacles(uri: StoreUri, *, applying: bool) -> tuple[str, ...]:
    """See `live.Live.obstacles`."""
    with session(uri) as connection:
        relations = list(read_relations(connection).values())
        found = [*_state(connection), *_rights(connection, relations), *_kinds(connection, relations)]
        if applying:
            found += _applying(connection, relations)
        with session(uri) as other:
            if shares_sessions(connection, other):
                found.append(
                    "A connection pooler hands one session of the server to several clients (transaction mode): give"
                    " liftlock an address of the server itself, or one that pools by session."
                )
    return tuple(found)


def shares_sessions(one: Connection, other: Connection) -> bool:
    """Whether a setting made on one connection shows on another, as behind a pooler in transaction mode.

    Then no setting that our reading depends on would hold for long.
    """
    mark = secrets.token_hex(8)
    one.execute("SELECT set_config('liftlock.probe', %s, false)", (mark,))
    try:
        row = other.execute("SELECT current_setting('liftlock.probe', true)").fetchone()
    finally:
        one.execute("SELECT set_config('liftlock.probe', '', false)")
    return row == (mark,)


def _state(connection: Connection) -> list[str]:
    row = connection.execute(
        """SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
                  EXISTS (SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
                           WHERE d.datname = current_database())"""
    ).fetchone()
    assert row is not None
    standby, read_only, subscribes = row
    found = []
    if standby:
        found.append("The server is a standby and takes no writes: name its primary.")
    elif read_only:
        found.append("The login's transactions are read-only: set default_transaction_read_only to off for it.")
    if subscribes:
        found.append(
            "The database subscribes to another by logical replication, whose writes no trigger of ours sees:"
            " drop the subscription."
        )
    return found


def _rights(connection: Connection, relations: list[Relation]) -> list[str]:
    row = connection.execute(
        f"""SELECT current_user, current_database(), has_database_privilege(current_database(), 'CREATE'),
                   to_regnamespace('{LIFTLOCK}') IS NOT NULL,
                   ARRAY(SELECT c.oid::regclass::text FROM pg_catalog.pg_class c
                          WHERE c.oid = ANY (%s) AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY 1)""".encode(),
        ([relation.oid for relation in relations],),
    ).fetchone()
    assert row is not None
    user, name, may_create, present, foreign = row
    found = []
    login = sql.Identifier(user).as_string(connection)
    if present and not has_schema(connection):
        found.append(f"There is a schema {LIFTLOCK} that is not liftlock's: rename it.")
    if not may_create and not present:
        shown = sql.Identifier(name).as_string(connection)
        found.append(f"The login may not make a schema: GRANT CREATE ON DATABASE {shown} TO {login};")
    if foreign:
        found.append(f"The login does not own {_some(foreign)}: use the owner's login, or GRANT its role TO {login};")
    return found


def _kinds(connection: Connection, relations: list[Relation]) -> list[str]:
    found = []
    if keyless := [relation.name for relation in relations if not relation.key and not relation.is_alembic]:
        found.append(f"There is no primary key on {_some(keyless)}: add one, or move the table to another database.")
    if parts := [str(row[0]) for row in connection.execute(_PARTS.encode())]:
        found.append(f"Tables are partitioned or inherit: {_some(parts)}: move them to another database.")
    return found


def _applying(connection: Connection, relations: list[Relation]) -> list[str]:
    found = []
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(TAKE_ROLE)
    except psycopg.errors.InsufficientPrivilege:
        row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        login = sql.Identifier(row[0]).as_string(connection)
        remedy = f"GRANT SET ON PARAMETER session_replication_role TO {login};"
        if connection.info.server_version < 150000:
            remedy = f"ALTER ROLE {login} SUPERUSER; (PostgreSQL 15 and newer can grant this right alone)"
        found.append(f"The login may not write past foreign keys and triggers; as a superuser run: {remedy}")
    acting = connection.execute(_ALWAYS, ([relation.oid for relation in relations],)).fetchall()
    if acting:
        name, table = acting[0]
        found.append(
            f"The trigger {name} on {table} acts even in replica role: ALTER TABLE {table} ENABLE TRIGGER {name};"
        )
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
