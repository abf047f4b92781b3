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
"""Table's oid -> places (ctid) and makers (xmin) of log entries: a place that was freed and used again has another."""

_BATCH = 20_000  # keys in one query
# Keys are many and rows lie apart: the server's default would rather read a whole table of millions than its index.
# And it needs its processors for others.
READ_BY_KEY = "SET LOCAL random_page_cost = 1.1; SET LOCAL max_parallel_workers_per_gather = 0"


class RowReader:
    """Rows of the connection's transaction."""

    def __init__(self, connection: Connection, uri: StoreUri, relations: Relations) -> None:
        self._connection = connection
        self._uri = uri
        self._relations = relations
        self._index_only = False

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """The rows whose `columns` have one of these combinations of values; no order, no repetition."""
        relation = self.relation(table)
        query = sql.SQL("SELECT {} FROM ONLY {} AS t").format(_as_text(relation), relation.identifier)
        found: list[Row] = []
        with translated(self._uri):
            self._prefer_index(relation, columns)
            for others, where, given in conditions(relation, columns, values):
                whole = query + sql.SQL(", {}").format(others) if others else query
                found += self._connection.execute(whole + sql.SQL(" WHERE ") + where, given, prepare=False).fetchall()
        # Two spellings of one value (0 and -0 of a float) find the same row twice.
        return list(dict.fromkeys(found))

    def _prefer_index(self, relation: Relation, columns: Sequence[str]) -> None:
        """Find rows by the primary key's index wherever it fits: then the size of the table does not matter.

        Without statistics, which a fresh copy may not have, the server would rather read everything.
        """
        wanted = set(columns) == set(relation.key[: len(columns)])
        if wanted != self._index_only:
            word = "off" if wanted else "on"
            self._connection.execute(
                f"SET LOCAL enable_seqscan = {word}; SET LOCAL enable_hashjoin = {word};"
                f" SET LOCAL enable_mergejoin = {word}".encode()
            )
            self._index_only = wanted

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
) -> Iterator[tuple[sql.Composable | None, sql.Composable, list[str]]]:
    """How to find these combinations of values in the table `t`; NULL equals NULL.

    Each item is what to join with (None: nothing), what to put behind WHERE, and the parameters.
    """
    full = (False,) * len(columns)
    patterns: dict[tuple[bool, ...], list[Key]] = {}
    for value in set(values):
        pattern = tuple(part is None for part in value) if None in value else full
        patterns.setdefault(pattern, []).append(value)
    for pattern, found in patterns.items():
        present = [place for place, is_null in enumerate(pattern) if not is_null]
        where = sql.SQL(" AND ").join(
            sql.SQL("{} IS NULL").format(_column(column))
            if is_null
            else sql.SQL("{} = u.{}").format(_column(column), sql.Identifier(f"c{place}"))
            for place, (column, is_null) in enumerate(zip(columns, pattern, strict=True))
        )
        if not present:
            yield None, where, []
            continue
        listed = sql.SQL("unnest({}) AS u({})").format(
            sql.SQL(", ").join(sql.SQL("%s::{}[]").format(sql.SQL(relation.types[columns[n]])) for n in present),
            sql.SQL(", ").join(sql.Identifier(f"c{place}") for place in present),
        )
        found.sort()  # neighbours lie on the same pages of index and table: half the work
        for part in (found[at : at + _BATCH] for at in range(0, len(found), _BATCH)):
            texts = list(zip(*part, strict=True))
            yield listed, where, [array(texts[place]) for place in present]


def array(given: Sequence[str]) -> str:
    """Texts as one literal of an array."""
    joined = '","'.join(given)
    if given and "\\" not in joined and joined.count('"') == 2 * (len(given) - 1):
        return f'{{"{joined}"}}'
    return "{" + ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in given) + "}"


def _as_text(relation: Relation) -> sql.Composable:
    return sql.SQL(", ").join(sql.SQL("{}::text").format(_column(column)) for column in relation.columns)


def _column(name: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(name))


# --- the log -------------------------------------------------------------------------------------------------


def read_log(
    connection: Connection, uri: StoreUri, relations: Relations, logs: Relations, limit: int | None = None
) -> PostgresqlView:
    """The view of this moment: `limit` entries of the log (None: all; old ones first as far as that costs nothing) and
    all rows.

    `logs` are those of the tables that have a log.
    """
    changed: dict[str, frozenset[Key]] = {}
    whole = set()
    token: Token = {}
    for relation in _not_empty(connection, logs):
        if limit is not None and limit <= 0:
            break
        key = [sql.SQL("{}::text").format(sql.Identifier(f"k{place}")) for place in range(len(relation.key))]
        query = sql.SQL("SELECT {} FROM {}{}").format(
            sql.SQL(", ").join([sql.SQL("ctid::text"), sql.SQL("xmin::text"), *key]),
            relation.log,
            sql.SQL("" if limit is None else f" LIMIT {limit}"),
        )
        places, makers, *keys = zip(*connection.execute(query, prepare=False).fetchall(), strict=True)
        token[relation.oid] = (list(places), list(makers))
        if limit is not None:
            limit -= len(places)
        found = frozenset(zip(*keys, strict=True))
        marks = {key for key in found if key[0] is None}
        if marks:
            whole.add(relation.name)
        if found - marks:
            changed[relation.name] = found - marks
    return PostgresqlView(connection, uri, relations, changed, frozenset(whole), token)


def count_log(connection: Connection, relations: Relations) -> dict[str, int]:
    """Table -> how many entries its log has."""
    return dict(_of_each(connection, relations, "SELECT {}, count(*) FROM {}"))


def _not_empty(connection: Connection, logs: Relations) -> list[Relation]:
    """Tables with log entries; that whose first entry is the oldest comes first, so that none waits for ever."""
    found = _of_each(connection, logs, "SELECT {}, (SELECT pg_catalog.age(xmin) FROM {} LIMIT 1)")
    return [logs[name] for age, name in sorted(((-age, name) for name, age in found if age is not None))]


def _of_each(connection: Connection, logs: Relations, query: str) -> list[Any]:
    parts = [sql.SQL(query).format(sql.Literal(name), relation.log) for name, relation in logs.items()]
    return connection.execute(sql.SQL(" UNION ALL ").join(parts)).fetchall() if parts else []
