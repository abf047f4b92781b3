"""Changing tables that people use: locks are only ever waited for in short tries.

Whoever wants the table behind us waits as long as we do, readers too for some locks. So a try gives up soon, leaves
the others a moment, and comes again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.stores.postgresql_connect import Connection
from liftlock.stores.postgresql_relations import Relation

_TRY = 0.4  # seconds that others wait behind us at most
_PAUSE = 0.15  # seconds in which they can do what they came for
_IN_THE_WAY = """
SELECT a.pid, COALESCE(a.usename::text, '?'), COALESCE(a.application_name, ''),
       COALESCE(a.state, 'state not visible')
  FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.locktype = 'relation' AND l.granted AND l.relation = ANY (%s) AND l.pid IS DISTINCT FROM pg_backend_pid()
   AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
   AND l.mode <> ALL (%s) ORDER BY a.xact_start LIMIT 1
"""
_HARMLESS = {
    "SHARE ROW EXCLUSIVE": ["AccessShareLock", "RowShareLock"],
    "ACCESS EXCLUSIVE": [],
}


@contextmanager
def transaction(connection: Connection, *, isolation: str = "READ COMMITTED") -> Iterator[None]:
    """A transaction that is committed when the block ends and rolled back when it raises."""
    connection.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
    with _ended(connection):
        yield


@contextmanager
def _ended(connection: Connection) -> Iterator[None]:
    try:
        yield
        # Of a transaction that failed and that somebody carried on with, COMMIT would silently make a ROLLBACK.
        if connection.info.transaction_status == TransactionStatus.INERROR:
            raise StoreError("a statement of the transaction had failed, so nothing of it can be kept")
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def locked(
    connection: Connection,
    relations: Iterable[Relation],
    mode: str,
    *,
    patience: float,
    isolation: str = "READ COMMITTED",
) -> Iterator[None]:
    """A transaction that begins with a lock on these tables, in which no snapshot was taken yet.

    Raises StoreError (retryable) when `patience` seconds were not enough, naming who was in the way.
    """
    wanted = list(relations)
    deadline = clock.monotonic() + patience
    while not _lock(connection, wanted, mode, min(_TRY, max(0.05, deadline - clock.monotonic())), isolation):
        if clock.monotonic() + _PAUSE >= deadline:
            raise StoreError(
                f"the tables could not be locked within {patience:.1f} s: {_who(connection, wanted, mode)}",
                hint="End that transaction, or wait until it is done, and try again.",
                retryable=True,
            )
        clock.sleep(_PAUSE)
    with _ended(connection):
        yield


def _lock(connection: Connection, wanted: list[Relation], mode: str, seconds: float, isolation: str) -> bool:
    # The limit is one for all tables together: lock_timeout alone would be per table.
    connection.execute(f"BEGIN ISOLATION LEVEL {isolation}".encode())
    try:
        if wanted:
            connection.execute(f"SET LOCAL statement_timeout = {int(seconds * 1000)}".encode())
            names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(relation.identifier) for relation in wanted)
            connection.execute(sql.SQL("LOCK TABLE {} IN " + mode + " MODE").format(names))
            connection.execute("SET LOCAL statement_timeout = 0")
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        connection.execute("ROLLBACK")
        return False
    except BaseException:
        if not connection.closed:
            connection.execute("ROLLBACK")
        raise
    return True


def _who(connection: Connection, wanted: list[Relation], mode: str) -> str:
    found = connection.execute(_IN_THE_WAY, ([relation.oid for relation in wanted], _HARMLESS[mode])).fetchall()
    if not found:
        return "others came and went too fast"
    pid, user, application, state = found[0]
    if pid is None:
        return "a prepared transaction holds them"
    return f"session {pid} of {user}{f' ({application})' if application else ''} holds them, {state}"
