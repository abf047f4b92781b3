"""The fence in PostgreSQL: triggers that refuse every write, until a moment that their function names.

Each table has one BEFORE statement trigger of ours (INSERT, UPDATE, DELETE, TRUNCATE) from the start of capture; its
function lets everything pass. To put the fence up, all tables are locked against writers and the function is replaced
by one that raises until a moment. PostgreSQL looks functions up in the present, not in a transaction's snapshot, and a
writer learns of the new one when it gets its own lock on the table. A flag in a row would not do: a REPEATABLE READ
transaction older than the flag would not see it and write on.

Prolonging the fence or taking it away replaces the function alone, for which nobody has to wait.
"""

from __future__ import annotations

from psycopg import sql

from liftlock.stores.postgresql_catalog import LIFTLOCK
from liftlock.stores.postgresql_connect import Connection
from liftlock.stores.postgresql_relations import Relation

FENCE = "liftlock_fence"
FOR_GOOD = "infinity"
DOWN = "-infinity"
_FUNCTION = sql.Identifier(LIFTLOCK, "fence")
_BODY = """BEGIN
  IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.<) {until}::pg_catalog.timestamptz THEN
    RAISE EXCEPTION USING MESSAGE = {label}, ERRCODE = 'read_only_sql_transaction';
  END IF;
  RETURN NULL;
END"""


def ensure_fence_function(connection: Connection) -> None:
    """Make the function that lets everything pass where there is none yet."""
    found = connection.execute(f"SELECT pg_catalog.to_regproc('{LIFTLOCK}.fence') IS NOT NULL".encode()).fetchone()
    if found != (True,):
        set_fence(connection, "", DOWN)


def set_fence(connection: Connection, label: str, until: str) -> None:
    """Refuse writes until a moment (text of a timestamp, FOR_GOOD or DOWN), from the commit of this transaction on."""
    body = sql.SQL(_BODY).format(until=sql.Literal(until), label=sql.Literal(label)).as_string(connection)
    connection.execute(
        sql.SQL("CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS {}").format(
            _FUNCTION, sql.Literal(body)
        )
    )
    connection.execute(
        f"""INSERT INTO {LIFTLOCK}.state VALUES ('fence', %s)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value""".encode(),
        (until,),
    )


def add_fence(connection: Connection, relation: Relation) -> None:
    """Put the trigger on a table, in the transaction that holds a lock on it."""
    connection.execute(
        sql.SQL(
            "CREATE TRIGGER {} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {} FOR EACH STATEMENT"
            " EXECUTE FUNCTION {}()"
        ).format(sql.Identifier(FENCE), relation.identifier, _FUNCTION)
    )


def fence_until(connection: Connection) -> str | None:
    """Until when the fence stands, None where it does not: by the database's clock."""
    row = connection.execute(
        f"""SELECT value FROM {LIFTLOCK}.state
             WHERE name = 'fence' AND value::timestamptz > pg_catalog.clock_timestamp()""".encode()
    ).fetchone()
    return None if row is None else str(row[0])


def moment(connection: Connection, seconds: float) -> str:
    """The text of the moment so many seconds from now, by the database's clock."""
    row = connection.execute(
        "SELECT (pg_catalog.clock_timestamp() + %s * interval '1 second')::text", (seconds,)
    ).fetchone()
    assert row is not None
    return str(row[0])
