"""Applying rows to a PostgreSQL database: one transaction in replica role.

In that role neither foreign keys nor ordinary triggers act: not MLflow's, not our capture, not our fence. Taking it
needs a right (superuser, rds_superuser, or GRANT SET ON PARAMETER from PostgreSQL 15 on), which writers of a tracking
server have no use for; a session setting checked by the triggers would be open to everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from liftlock.stores.live import Key, Row
from liftlock.stores.postgresql_connect import translated
from liftlock.stores.postgresql_view import RowReader, conditions

TAKE_ROLE = "SET LOCAL session_replication_role = replica"
_REFUSALS = (psycopg.errors.IntegrityError, psycopg.errors.DataError)


class PostgresqlTarget(RowReader):
    """See `live.Target`. Valid as long as the transaction it was made in."""

    def delete(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> int:
        """Delete the rows whose `columns` have one of these combinations of values (NULL equals NULL); how many."""
        relation = self.relation(table)
        query = sql.SQL("DELETE FROM ONLY {} AS t").format(relation.identifier)
        deleted = 0
        with translated(self._uri):
            self._prefer_index(relation, columns)
            for others, where, given in conditions(relation, columns, values):
                whole = query + sql.SQL(" USING {}").format(others) if others else query
                deleted += self._connection.execute(whole + sql.SQL(" WHERE ") + where, given, prepare=False).rowcount
        return deleted

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows given as values of `columns`."""
        with translated(self._uri):
            self._copy(table, columns, rows)

    def _copy(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        if not rows:
            return
        statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
            self.relation(table).identifier, sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self._connection.cursor().copy(statement) as stream:
            for row in rows:
                stream.write_row(row)

    def refused(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """Insert what can be; the rows that cannot, each with the database's reason."""
        bad: list[tuple[Row, str]] = []
        waiting = [rows] if rows else []
        while waiting:
            part = waiting.pop()
            with translated(self._uri):
                reason = self._try(table, columns, part)
            if reason is None:
                continue
            if len(part) == 1:
                bad.append((part[0], reason))
            else:  # halves, the first of them next
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        return bad

    def clear(self, table: str) -> None:
        """Delete all rows. (TRUNCATE would keep readers out, and refuses tables that others refer to.)"""
        with translated(self._uri):
            self._connection.execute(sql.SQL("DELETE FROM ONLY {}").format(self.relation(table).identifier))

    def _try(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> str | None:
        try:
            with self._connection.transaction():  # a savepoint
                self._copy(table, columns, rows)
        except _REFUSALS as error:
            return error.diag.message_primary or type(error).__name__
        return None
