"""Changed rows from one SQLite file to another by sets: no row becomes an object of this process.

What short views of the source find under the keys of its log goes into a database in memory, a later state of a row
over an earlier one. Then, with the source let go, so that its writers need not wait for us, the rows are replaced in
one transaction of the sink, read back and compared.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from liftlock import clock
from liftlock.stores import sqlite_log as log
from liftlock.stores.live import Shape, Straight
from liftlock.stores.sqlite_connection import quote
from liftlock.stores.sqlite_view import Token, has_rowid

_FIRST, _LEAST, _LARGEST = 500, 20, 50_000  # log entries in a view
_ENTRIES = 200_000  # of the log, and
_BYTES = 64 << 20  # of memory, for what is applied at once
_LISTED = 3
_NUMBERS = count()


@dataclass
class Pace:
    """How many log entries a view takes; kept from one call to the next."""

    limit: int = _FIRST

    def learn(self, spent: float, view: float) -> None:
        """Towards views of half of what is allowed."""
        factor = min(2.0, max(0.25, view / 2 / max(spent, 1e-6)))
        self.limit = min(_LARGEST, max(_LEAST, int(self.limit * factor)))


class Arrivals:
    """A database in memory that connections of this process attach, gone with the last of them: for each table the
    keys that were looked for, whether there is such a row, and its columns.

    `range` is where in the log the keys stand, `viewed` seconds of the longest view.
    """

    def __init__(self, tables: Sequence[Straight]) -> None:
        self._uri = f"file:liftlock-arrivals-{next(_NUMBERS)}?mode=memory&cache=shared"
        self._tables = {table.source: table for table in tables}
        self._taken: dict[str, str] = {}
        self.range: Token = None
        self.viewed = 0.0

    @property
    def tables(self) -> tuple[str, ...]:
        """Those of the source whose entries in `range` were taken."""
        return tuple(self._tables)

    def attach(self, connection: sqlite3.Connection) -> None:
        """Make it known to a connection that is in no transaction."""
        connection.execute("ATTACH ? AS arrived", (self._uri,))

    def collect(self, connection: sqlite3.Connection, pace: Pace, *, view: float, seconds: float) -> None:
        """Take what the log of the source says has changed, in short views."""
        connection.execute("PRAGMA arrived.journal_mode = OFF")
        end = clock.monotonic() + seconds
        while True:
            began = clock.monotonic()
            connection.execute("BEGIN")
            more = self._view(connection, pace.limit)
            connection.execute("COMMIT")
            ended = clock.monotonic()
            if not more:
                return
            self.viewed = max(self.viewed, ended - began)
            pace.learn(ended - began, view)
            if ended > end or self._is_full(connection):
                return

    def _view(self, connection: sqlite3.Connection, limit: int) -> bool:
        """Log entries and their rows, in one state of the source; whether there were any."""
        log.require(connection)
        low = log.next_of(connection, self._tables, self.range[1] + 1 if self.range else 0)
        if low is None:
            return False
        high = min(log.highest(connection), low + limit - 1)
        for name in log.tables(connection, (low, high)) & self._tables.keys():
            self._take(connection, self._tables[name], (low, high))
        self.range = (self.range[0] if self.range else low, high)
        return True

    def _take(self, connection: sqlite3.Connection, table: Straight, entries: tuple[int, int]) -> None:
        keys = [f"k{n}" for n in range(len(table.key))]
        columns = list(table.columns)
        if table.source not in self._taken:
            # No declared types: values keep the type they have.
            self._taken[table.source] = f"arrived.a{len(self._taken)}"
            connection.execute(
                f"CREATE TABLE {self._taken[table.source]} ({', '.join(keys)}, present, "
                f"{', '.join(f'c{n}' for n in range(len(columns)))}, PRIMARY KEY ({', '.join(keys)})) WITHOUT ROWID"
            )
        same = " AND ".join(
            f"r.{quote(column)} = w.{k} COLLATE BINARY" for column, k in zip(table.key, keys, strict=True)
        )
        connection.execute(
            f"INSERT OR REPLACE INTO {self._taken[table.source]} "
            f"SELECT {', '.join(f'w.{k}' for k in keys)}, r.{quote(table.key[0])} IS NOT NULL, "
            f"{', '.join(f'r.{quote(table.columns[column])}' for column in columns)} "
            f"FROM (SELECT DISTINCT {', '.join(keys)} FROM {log.LOG} WHERE id BETWEEN ? AND ? AND t = ?) w "
            f"LEFT JOIN {quote(table.source)} r ON {same}",
            (*entries, table.source),
        )

    def _is_full(self, connection: sqlite3.Connection) -> bool:
        assert self.range
        (pages,) = connection.execute("PRAGMA arrived.page_count").fetchone()
        (size,) = connection.execute("PRAGMA arrived.page_size").fetchone()
        return bool(self.range[1] - self.range[0] >= _ENTRIES or pages * size >= _BYTES)

    def replace(self, connection: sqlite3.Connection, shapes: Mapping[str, Shape]) -> tuple[int, tuple[str, ...]]:
        """Make the sink, in its transaction, hold what arrived: how many keys, and what it does not hold as it came."""
        connection.create_function("liftlock_sign", 1, lambda value: math.copysign(1, value), deterministic=True)
        keys, wrong = 0, []
        for source, arrived in self._taken.items():
            table = self._tables[source]
            what = _Replacing(table, arrived, shapes[table.table].key)
            connection.execute(what.delete, what.constants)
            connection.execute(what.insert, what.constants)
            found = connection.execute(what.differences, what.constants).fetchall()
            wrong += [f"{table.table} {key!r}: not as it was written" for key in found]
            keys += connection.execute(f"SELECT count(*) FROM {arrived}").fetchone()[0]
        return keys, tuple(wrong)


class _Replacing:
    """Statements that make the table `r` of the sink hold what is in `a`; `:column` stands for a constant."""

    def __init__(self, table: Straight, arrived: str, key: Sequence[str]) -> None:
        self.constants = {f"v{n}": value for n, value in enumerate(table.constants.values())}
        constants = {column: f":v{n}" for n, column in enumerate(table.constants)}
        values = {column: f"a.c{n}" for n, column in enumerate(table.columns)} | constants
        logged = {name: f"a.k{n}" for n, name in enumerate(table.key)}
        same_row = " AND ".join(
            f"r.{quote(column)} IS {constants.get(column) or logged[table.columns[column]]} COLLATE BINARY"
            for column in key
        )
        # CROSS keeps the order: what arrived outside, a look into the table's index for each.
        joined = f"{arrived} a CROSS JOIN main.{quote(table.table)} r ON {same_row}"
        # Found first and deleted in the order of the table, rows take half the time they take one by one.
        self.delete = f"DELETE FROM main.{quote(table.table)} WHERE _rowid_ IN (SELECT r._rowid_ FROM {joined})"
        self.insert = (
            f"INSERT INTO main.{quote(table.table)} ({', '.join(map(quote, values))}) "
            f"SELECT {', '.join(values.values())} FROM {arrived} a WHERE a.present"
        )
        equal = " AND ".join(_equal(f"r.{quote(column)}", value) for column, value in values.items())
        self.differences = (
            f"SELECT {', '.join(logged.values())} FROM {arrived} a LEFT JOIN main.{quote(table.table)} r ON {same_row} "
            f"WHERE CASE WHEN a.present THEN ({equal}) IS NOT TRUE ELSE r.{quote(key[0])} IS NOT NULL END "
            f"LIMIT {_LISTED}"
        )


def _equal(one: str, other: str) -> str:
    """Kinds count (1 is not 1.0), and so does the sign of zero, which SQL does not tell."""
    return (
        f"{one} IS {other} COLLATE BINARY AND typeof({one}) = typeof({other}) AND CASE WHEN typeof({one}) = 'real' "
        f"AND {one} = 0.0 THEN liftlock_sign({one}) = liftlock_sign({other}) ELSE 1 END"
    )


def possible(connection: sqlite3.Connection, table: Straight, shapes: Mapping[str, Shape]) -> bool:
    """Whether rows of this table of the sink can be replaced as a set."""
    return table.table in shapes and has_rowid(connection, shapes[table.table])
