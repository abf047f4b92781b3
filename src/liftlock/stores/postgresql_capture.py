"""Capture in PostgreSQL: which keys may have changed, logged by triggers.

Each table has a log of ours with its key's own columns, and four triggers: those of INSERT and DELETE see all rows of a
statement at once, that of UPDATE one after the other (also those a foreign key's cascade changed), TRUNCATE logs that
everything may have changed. An UPDATE logs the keys before and after. Keys may repeat: what is applied is the current
state. (An UPDATE of MLflow's changes one row, which costs a row's trigger half of what it costs a statement's, with its
two sets of rows; its INSERTs have many. A log entry is named by its place and its transaction: a number costs more.)

The triggers are ordinary ones, which act for every session but those in replica role. So what we apply ourselves is
not logged again (no echo), and nobody without the right to that role can write unseen; a subscription would, which is
an obstacle. A log entry with no key means the whole table.
"""

from __future__ import annotations

from psycopg import sql

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.stores.postgresql_catalog import LIFTLOCK
from liftlock.stores.postgresql_connect import Connection
from liftlock.stores.postgresql_fence import FENCE, add_fence, ensure_fence_function
from liftlock.stores.postgresql_locks import locked, transaction
from liftlock.stores.postgresql_relations import Relation, Relations, read_relations, signature

_EVENTS = {
    "insert": "REFERENCING NEW TABLE AS liftlock_new FOR EACH STATEMENT",
    "update": "FOR EACH ROW",
    "delete": "REFERENCING OLD TABLE AS liftlock_old FOR EACH STATEMENT",
    "truncate": "FOR EACH STATEMENT",
}
_TRIGGERS = frozenset({f"liftlock_{event}" for event in _EVENTS} | {FENCE})
_CAPTURED = "capture"
_OPEN = """
SELECT l.virtualtransaction FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'transactionid' AND l.granted AND l.mode = 'ExclusiveLock'
   AND l.pid IS DISTINCT FROM pg_backend_pid() AND (a.datname IS NULL OR a.datname = current_database())
"""


def ensure_schema(connection: Connection) -> None:
    """Make the schema of ours and its state where they are missing."""
    if not has_schema(connection):
        row = connection.execute(f"SELECT pg_catalog.to_regnamespace('{LIFTLOCK}') IS NULL".encode()).fetchone()
        if row != (True,):
            raise StoreError(f"there is a schema {LIFTLOCK} that is not liftlock's", hint="Rename it.")
    with side_effect("create schema liftlock"), transaction(connection):
        connection.execute(
            f"""CREATE SCHEMA IF NOT EXISTS {LIFTLOCK};
                CREATE TABLE IF NOT EXISTS {LIFTLOCK}.state (name text PRIMARY KEY, value text NOT NULL)""".encode()
        )
        ensure_fence_function(connection)


def has_schema(connection: Connection) -> bool:
    """Whether our schema is there."""
    row = connection.execute(f"SELECT pg_catalog.to_regclass('{LIFTLOCK}.state') IS NOT NULL".encode()).fetchone()
    return row == (True,)


def captured(connection: Connection, relations: Relations) -> bool:
    """Whether a complete capture is in place for these very tables."""
    if not has_schema(connection):
        return False
    row = connection.execute(f"SELECT value FROM {LIFTLOCK}.state WHERE name = %s".encode(), (_CAPTURED,)).fetchone()
    return (
        row is not None
        and row[0] == signature(relations)
        and all(relation.triggers >= _TRIGGERS for relation in logged(relations).values())
    )


def logged(relations: Relations) -> dict[str, Relation]:
    """The tables whose changes are logged: all but Alembic's."""
    return {name: relation for name, relation in relations.items() if not relation.is_alembic}


def with_log(connection: Connection, relations: Relations) -> dict[str, Relation]:
    """The tables that have a log, whatever state capture is in."""
    found = {
        row[0]
        for row in connection.execute(
            """SELECT c.relname::text FROM pg_catalog.pg_class c
                WHERE c.relkind = 'r' AND c.relnamespace = pg_catalog.to_regnamespace(%s)""",
            (LIFTLOCK,),
        )
    }
    return {name: relation for name, relation in relations.items() if f"log_{relation.oid}" in found}


def install(connection: Connection, patience: float) -> None:
    """Put log and triggers on all tables, one table after the other, and see every older writer out."""
    deadline = clock.monotonic() + patience
    relations = read_relations(connection)
    ensure_schema(connection)
    connection.execute(f"DELETE FROM {LIFTLOCK}.state WHERE name = %s".encode(), (_CAPTURED,))
    for relation in logged(relations).values():
        left = max(0.0, deadline - clock.monotonic())
        # Removing a trigger needs everybody out, readers too; the first time there is none.
        mode = "ACCESS EXCLUSIVE" if relation.marked else "SHARE ROW EXCLUSIVE"
        with side_effect("capture table"), locked(connection, [relation], mode, patience=left):
            _install_table(connection, relation)
    _wait_for_writers(connection, deadline)
    found = signature(relations)
    if signature(read_relations(connection)) != found:
        raise StoreError("the schema was changed while capture began", hint="Try again.", retryable=True)
    with side_effect("capture is complete"):
        connection.execute(f"INSERT INTO {LIFTLOCK}.state VALUES (%s, %s)".encode(), (_CAPTURED, found))


def _install_table(connection: Connection, relation: Relation) -> None:
    """Make log, function and triggers anew, in the transaction that holds the lock."""
    remove_triggers(connection, relation)
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(f"k{place}"), sql.SQL(relation.types[column]))
        for place, column in enumerate(relation.key)
    ]
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(relation.log))
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(relation.log, sql.SQL(", ").join(columns)))
    _make_functions(connection, relation)
    for event, seen in _EVENTS.items():
        connection.execute(
            sql.SQL("CREATE TRIGGER {} AFTER {} ON {} {} EXECUTE FUNCTION {}()").format(
                sql.Identifier(f"liftlock_{event}"),
                sql.SQL(event),
                relation.identifier,
                sql.SQL(seen),
                _function(relation, event),
            )
        )
    add_fence(connection, relation)


def _function(relation: Relation, event: str) -> sql.Identifier:
    return sql.Identifier(LIFTLOCK, f"{'log_row' if event == 'update' else 'log'}_{relation.oid}")


def _make_functions(connection: Connection, relation: Relation) -> None:
    # They run with our rights, because those who write need none on the log. They name nothing that the writer's
    # search path could lead elsewhere.
    for event, body in (("insert", _body(relation)), ("update", _row_body(relation))):
        function = _function(relation, event)
        connection.execute(
            sql.SQL("CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS {}").format(
                function, sql.Literal(body.as_string(connection))
            )
        )
        connection.execute(sql.SQL("REVOKE ALL ON FUNCTION {}() FROM PUBLIC").format(function))


def _body(relation: Relation) -> sql.Composed:
    """For a statement that inserts, deletes or truncates."""
    return sql.SQL(
        """BEGIN
  IF TG_OP OPERATOR(pg_catalog.=) 'INSERT' THEN
    INSERT INTO {log} ({named}) SELECT {key} FROM liftlock_new;
  ELSIF TG_OP OPERATOR(pg_catalog.=) 'DELETE' THEN
    INSERT INTO {log} ({named}) SELECT {key} FROM liftlock_old;
  ELSE
    INSERT INTO {log} DEFAULT VALUES;
  END IF;
  RETURN NULL;
END"""
    ).format(log=relation.log, named=_named(relation), key=sql.SQL(", ").join(map(sql.Identifier, relation.key)))


def _row_body(relation: Relation) -> sql.Composed:
    """For one row that is updated: keys are compared to the bit."""
    old, new = (
        sql.SQL(", ").join(sql.SQL("{}.{}").format(sql.SQL(row), sql.Identifier(column)) for column in relation.key)
        for row in ("OLD", "NEW")
    )
    return sql.SQL(
        """BEGIN
  IF ROW({old})::pg_catalog.record OPERATOR(pg_catalog.*<>) ROW({new})::pg_catalog.record THEN
    INSERT INTO {log} ({named}) VALUES ({old});
  END IF;
  INSERT INTO {log} ({named}) VALUES ({new});
  RETURN NULL;
END"""
    ).format(log=relation.log, named=_named(relation), old=old, new=new)


def _named(relation: Relation) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(f"k{place}") for place in range(len(relation.key)))


def _wait_for_writers(connection: Connection, deadline: float) -> None:
    """Wait until every transaction that has written anything by now is gone.

    The locks have shown this for each table already; this is the belt to those braces. Readers need not be waited
    for: whoever writes to a table for the first time from now on finds the triggers, however old its snapshot is.
    """
    old = {row[0] for row in connection.execute(_OPEN)}
    while old & {row[0] for row in connection.execute(_OPEN)}:
        if clock.monotonic() > deadline:
            raise StoreError(
                "a transaction that wrote before capture began is still open",
                hint="End it, or wait until it is done, and try again.",
                retryable=True,
            )
        clock.sleep(0.02)


def remove(connection: Connection, patience: float) -> None:
    """Remove everything of ours, one table after the other, then the schema."""
    deadline = clock.monotonic() + patience
    if not has_schema(connection):
        return
    for relation in read_relations(connection).values():
        if relation.marked:
            left = max(0.0, deadline - clock.monotonic())
            with side_effect("release table"), locked(connection, [relation], "ACCESS EXCLUSIVE", patience=left):
                remove_triggers(connection, relation)
    with side_effect("drop schema liftlock"), transaction(connection):
        connection.execute(f"SET LOCAL client_min_messages = error; DROP SCHEMA {LIFTLOCK} CASCADE".encode())


def remove_triggers(connection: Connection, relation: Relation) -> None:
    """Drop every trigger of ours on a table, in the transaction that holds the lock."""
    for name in sorted(_TRIGGERS):
        connection.execute(sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), relation.identifier))
