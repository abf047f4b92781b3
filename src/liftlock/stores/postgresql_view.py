"""Reading rows by key, and one view of log and rows of a PostgreSQL database.

Values travel as the server's own text (float8 in its shortest exact form, bytea in hex): what is read can be written
back as it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import sql

from liftlock.errors import StoreError
from liftlock.model.uri import StoreUri
from liftlock.stores.live import Key, Row
from liftlock.stores.postgresql_connect import Connection, translated
from liftlock.stores.postgresql_relations import Relation, Relations

Token = dict[int, tuple[list[str], list[str]]]
"""Table's oid -> places (ctid) and ids of log entries."""

_BATCH = 20_000  # keys in one query


class RowReader:
    """Rows of the connection's transaction."""

    def __init__(self, connection: Connection, uri: StoreUri, relations: Relations) -> None:
        self._connection = connection
        self._uri = uri
        self._relations = relations

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """The rows whose `columns` have one of these combinations of values; no order, no repetition."""
        relation = self.relation(table)
        start = sql.SQL("SELECT {} FROM ONLY {} AS t WHERE ").format(_as_text(relation), relation.identifier)
        with translated(self._uri):
            parts = [
                self._connection.execute(start + where, given, prepare=False).fetchall()
                for where, given in conditions(relation, columns, values)
            ]
        # Two spellings of one value (0 and -0 of a float) may have come into two queries.
        return parts[0] if len(parts) == 1 else list(dict.fromkeys(row for part in parts for row in part))

    def relation(self, table: str) -> Relation:
        """Raises StoreError where there is no such table."""
        try:
            return self._relations[table]
        except KeyError:
            raise StoreError(f"there is no table {table} in this database") from None


class PostgresqlView(RowReader):
    """See `live.View`. Valid as long as the transaction it was made in."""

    def __init__(
        self,
        connection: Connection,
        uri: StoreUri,
        relations: Relations,
        changed: Mapping[str, frozenset[Key]],
        whole: frozenset[str],
        token: Token,
    ) -> None:
        super().__init__(connection, uri, relations)
        self.changed = changed
        self.whole = whole
        self.token = token

    def after(self, table: str, key: Key | None, limit: int) -> list[Row]:
        """At most `limit` rows behind `key` (None: from the start) in the order of the primary key."""
        return self._ordered(table, [(">", key)], limit)

    def between(self, table: str, low: Key | None, high: Key | None) -> list[Row]:
        """The rows with low < primary key <= high in that order; None leaves that end open."""
        return self._ordered(table, [(">", low), ("<=", high)], None)

    def _ordered(self, table: str, bounds: Sequence[tuple[str, Key | None]], limit: int | None) -> list[Row]:
        relation = self.relation(table)
        if not relation.key:
            raise StoreError(f"table {table} has no primary key, so its rows have no order")
        key = sql.SQL(", ").join(_column(column) for column in relation.key)
        typed = sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(relation.types[name])) for name in relation.key)
        query = sql.SQL("SELECT {} FROM ONLY {} AS t").format(_as_text(relation), relation.identifier)
        given: list[Any] = []
        word = " WHERE "
        for operator, bound in bounds:
            if bound is not None:
                query += sql.SQL(word + "({}) " + operator + " ({})").format(key, typed)
                given.extend(bound)
                word = " AND "
        query += sql.SQL(" ORDER BY {}").format(key)
        if limit is not None:
            query += sql.SQL(" LIMIT {}").format(sql.Literal(limit))
        with translated(self._uri):
            return self._connection.execute(query, given, prepare=False).fetchall()


def conditions(
    relation: Relation, columns: Sequence[str], values: Iterable[Key]
) -> Iterator[tuple[sql.Composable, list[str]]]:
    """What to put behind WHERE, and its parameters, to find these combinations of values; NULL equals NULL."""
    patterns: dict[tuple[bool, ...], list[Key]] = {}
    for value in dict.fromkeys(values):
        patterns.setdefault(tuple(part is None for part in value), []).append(value)
    for pattern, found in patterns.items():
        absent = [column for column, is_null in zip(columns, pattern, strict=True) if is_null]
        present = [(place, column) for place, column in enumerate(columns) if not pattern[place]]
        nulls = [sql.SQL("{} IS NULL").format(_column(column)) for column in absent]
        if not present:
            yield sql.SQL(" AND ").join(nulls), []
            continue
        arrays = [sql.SQL("%s::{}[]").format(sql.SQL(relation.types[column])) for _, column in present]
        listed = sql.SQL("({}) IN (SELECT * FROM unnest({}))").format(
            sql.SQL(", ").join(_column(column) for _, column in present), sql.SQL(", ").join(arrays)
        )
        for part in (found[at : at + _BATCH] for at in range(0, len(found), _BATCH)):
            yield (
                sql.SQL(" AND ").join([listed, *nulls]),
                [array(value[place] for value in part) for place, _ in present],
            )


def array(values: Iterable[str]) -> str:
    """Texts as one literal of an array."""
    return "{" + ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values) + "}"


def _as_text(relation: Relation) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}::text").format(_column(column)) for column in relation.columns)


def _column(name: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(name))


# --- the log -------------------------------------------------------------------------------------------------


def read_log(
    connection: Connection, uri: StoreUri, relations: Relations, logs: Relations, limit: int | None = None
) -> PostgresqlView:
    """The view of this moment: the oldest `limit` entries of the log (None: all) and all rows.

    `logs` are those of the tables that have a log.
    """
    changed: dict[str, frozenset[Key]] = {}
    whole = set()
    token: Token = {}
    last = None if limit is None else _last_of_oldest(connection, logs, limit)
    for name in _not_empty(connection, logs):
        relation = logs[name]
        query = sql.SQL("SELECT {} FROM {}{}").format(
            sql.SQL(", ").join([sql.SQL("ctid::text"), sql.SQL("id::text"), *_logged_key(relation)]),
            relation.log,
            sql.SQL("" if last is None else f" WHERE id <= {last}"),
        )
        entries = connection.execute(query, prepare=False).fetchall()
        if not entries:
            continue
        places, ids, *keys = zip(*entries, strict=True)
        token[relation.oid] = (list(places), list(ids))
        found = frozenset(zip(*keys, strict=True))
        marks = {key for key in found if key[0] is None}
        if marks:
            whole.add(name)
        if found - marks:
            changed[name] = found - marks
    return PostgresqlView(connection, uri, relations, changed, frozenset(whole), token)


def _logged_key(relation: Relation) -> list[sql.Composable]:
    return [sql.SQL("{}::text").format(sql.Identifier(f"k{place}")) for place in range(len(relation.key))]


def count_log(connection: Connection, relations: Relations) -> dict[str, int]:
    """Table -> how many entries its log has."""
    return dict(_of_each(connection, relations, "SELECT {}, count(*) FROM {}"))


def _not_empty(connection: Connection, relations: Relations) -> list[str]:
    return [name for name, some in _of_each(connection, relations, "SELECT {}, EXISTS (SELECT FROM {})") if some]


def _of_each(connection: Connection, relations: Relations, query: str) -> list[Any]:
    parts = [sql.SQL(query).format(sql.Literal(name), relation.log) for name, relation in relations.items()]
    return connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall() if parts else []


def _last_of_oldest(connection: Connection, relations: Relations, limit: int) -> int | None:
    """The id up to which there are `limit` entries; None where there are no more than that."""
    logs = [sql.SQL("SELECT id FROM {}").format(relation.log) for relation in relations.values()]
    if not logs:
        return None
    row = connection.execute(
        sql.SQL("SELECT id FROM ({}) AS l ORDER BY id OFFSET {} LIMIT 1").format(
            sql.SQL(" UNION ALL ").join(logs), sql.Literal(limit - 1)
        )
    ).fetchone()
    return None if row is None else int(row[0])
