"""Changed rows from one PostgreSQL database to another by sets: no row becomes an object of this process.

One statement on the source takes entries out of the log and gives the rows they speak of, all of one snapshot; its
transaction stays open. The sink gets them as a temporary table, replaces its own rows, and compares what it holds
with what came. It is committed first, the source's transaction with the entries' deletion after it: a kill in between
brings the same keys again. The next portion is read while this one is applied; it skips what that one has taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import sql

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_capture as capture
from liftlock.stores.live import Moved, Straight
from liftlock.stores.postgresql_apply import TAKE_ROLE
from liftlock.stores.postgresql_connect import Connection, session, translated
from liftlock.stores.postgresql_dump import gathered
from liftlock.stores.postgresql_relations import Relation, read_relations
from liftlock.stores.postgresql_view import READ_BY_KEY

_FIRST, _LARGEST = 2_000, 100_000  # log entries in a portion
_BYTES = 32 << 20  # of rows in a portion; two are in memory at a time
_WORTH_VACUUM = 10_000
_LISTED = 3
_ARRIVED = sql.Identifier("pg_temp", "liftlock_arrived")
_BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"


@dataclass
class Pace:
    """How many log entries a portion takes; kept from one call to the next."""

    limit: int = _FIRST

    def learn(self, portion: Portion, view: float) -> None:
        """Towards views and amounts of half of what is allowed."""
        size = sum(map(len, portion.blocks))
        factor = min(4.0, max(0.1, min(view / 2 / max(portion.viewed, 1e-6), _BYTES / 2 / max(size, 1))))
        self.limit = min(_LARGEST, max(100, int(self.limit * factor)))


@dataclass
class Portion:
    """Rows of one snapshot as COPY text, each with whether it is there; `keys` of them. The entries are not consumed
    before `connection` commits.
    """

    connection: Connection
    blocks: list[bytes] = field(default_factory=list)
    keys: int = 0
    viewed: float = 0.0


def transfer(
    source: StoreUri, sink: StoreUri, tables: Sequence[Straight], pace: Pace, *, view: float, seconds: float
) -> Moved:
    """See `Live.transfer`."""
    end = clock.monotonic() + seconds
    keys, longest = 0, 0.0
    with session(source) as first, session(source) as second, session(sink) as writing, ThreadPoolExecutor(1) as pool:
        here, there = read_relations(first), read_relations(writing)
        for table in tables:
            lane = _Lane(table, here[table.source], there[table.table], source)
            if not lane.waits(first):
                continue
            with _portions(lane, pool, (first, second), pace, end) as portions:
                for portion in portions:
                    longest = max(longest, portion.viewed)
                    with translated(sink):
                        wrong = lane.apply(writing, portion)
                    if wrong:
                        return Moved(keys=keys, viewed=longest, wrong=wrong)
                    with side_effect("consume log"):
                        portion.connection.execute("COMMIT")
                    keys += portion.keys
                    pace.learn(portion, view)
            if keys >= _WORTH_VACUUM:
                first.execute(sql.SQL("VACUUM (TRUNCATE off) {}").format(lane.source.log))
    return Moved(keys=keys, viewed=longest)


@contextmanager
def _portions(
    lane: _Lane, pool: ThreadPoolExecutor, connections: tuple[Connection, Connection], pace: Pace, end: float
) -> Iterator[Iterator[Portion]]:
    """The portions of one table, the next one being read already; what was not committed is given back in the end."""
    waiting: list[Future[Portion]] = []

    def read() -> Iterator[Portion]:
        waiting.append(pool.submit(lane.read, connections[0], pace.limit))
        turn = 0
        while True:
            portion = waiting.pop().result()
            if not portion.keys:
                return
            turn = 1 - turn
            more = clock.monotonic() < end
            if more:
                waiting.append(pool.submit(lane.read, connections[turn], pace.limit))
            yield portion
            if not more:
                return

    try:
        yield read()
    finally:
        for each in waiting:
            each.exception()  # it must be done before its connection can be used
        for connection in connections:
            if not connection.closed:
                connection.execute("ROLLBACK")


class _Lane:
    """One table: the statements for it."""

    def __init__(self, table: Straight, source: Relation, sink: Relation, uri: StoreUri) -> None:
        self.source, self.sink = source, sink
        self._uri = uri
        self._table = table
        self._columns = [column for column in sink.columns if column in table.columns]
        self._arriving = sql.SQL("CREATE TEMPORARY TABLE {} (present boolean, {}) ON COMMIT DROP").format(
            sql.Identifier("liftlock_arrived"),
            sql.SQL(", ").join(
                sql.SQL("{} {}").format(sql.Identifier(f"c{place}"), sql.SQL(source.types[table.columns[column]]))
                for place, column in enumerate(self._columns)
            ),
        )
        values = {column: self._cast(column, table, place) for place, column in enumerate(self._columns)}
        values |= {
            column: sql.SQL("{}::{}").format(sql.Literal(value), sql.SQL(sink.types[column]))
            for column, value in table.constants.items()
        }
        same_row = sql.SQL(" AND ").join(
            sql.SQL("t.{} = {}").format(sql.Identifier(column), values[column]) for column in sink.key
        )
        self._delete = sql.SQL("DELETE FROM ONLY {} AS t USING {} AS a WHERE {}").format(
            sink.identifier, _ARRIVED, same_row
        )
        self._insert = sql.SQL(
            "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} AS a WHERE a.present"
        ).format(
            sink.identifier,
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(values.values()),
            _ARRIVED,
        )
        self._compare = sql.SQL(
            "SELECT {key} FROM {arrived} AS a LEFT JOIN ONLY {table} AS t ON {same_row}"
            " WHERE CASE WHEN a.present THEN ({equal}) IS NOT TRUE ELSE t.{first} IS NOT NULL END LIMIT {listed}"
        ).format(
            key=sql.SQL(", ").join(sql.SQL("({})::text").format(values[column]) for column in sink.key),
            arrived=_ARRIVED,
            table=sink.identifier,
            same_row=same_row,
            equal=self._equal(table),
            first=sql.Identifier(sink.key[0]),
            listed=sql.Literal(_LISTED),
        )

    def waits(self, connection: Connection) -> bool:
        """Whether the log of this table has entries."""
        row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(self.source.log)).fetchone()
        return row == (True,)

    def read(self, connection: Connection, limit: int) -> Portion:
        """Take entries out of the log, with the rows of the same snapshot. The transaction stays open."""
        portion = Portion(connection)
        query = _reading(self._table, self.source, self._columns, limit)
        with translated(self._uri):
            # One statement sees one snapshot; entries that the portion before this has taken are skipped.
            connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
            connection.execute(f"{READ_BY_KEY}; {_BY_INDEX}".encode())
            began = clock.monotonic()
            with connection.cursor().copy(query) as rows:
                for block in gathered(rows):
                    portion.blocks.append(block)
                    portion.keys += block.count(b"\n")
            portion.viewed = clock.monotonic() - began
            # Our lock on the table keeps its schema as it is from here on; this is a later look at it than the rows'.
            if not capture.captured(connection, read_relations(connection)):
                raise StoreError(
                    "nothing is captured here, or the schema is no longer the one that was captured",
                    hint="Somebody changed tables or triggers. Begin the upgrade anew.",
                )
        return portion

    def apply(self, connection: Connection, portion: Portion) -> tuple[str, ...]:
        """Replace the rows of a portion in one transaction; what is not as it came (then nothing was kept)."""
        connection.execute("BEGIN")
        try:
            connection.execute(f"{TAKE_ROLE}; {READ_BY_KEY}".encode())
            connection.execute(self._arriving)
            with connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(_ARRIVED)) as arriving:
                for block in portion.blocks:
                    arriving.write(block)
            connection.execute(_BY_INDEX)
            connection.execute(self._delete)
            connection.execute(self._insert)
            wrong = connection.execute(self._compare).fetchall()
            if not wrong:
                with side_effect("transfer rows"):
                    connection.execute("COMMIT")
                return ()
        except BaseException:
            if not connection.closed:
                connection.execute("ROLLBACK")
            raise
        connection.execute("ROLLBACK")
        return tuple(f"{self.sink.name} {key!r}: not as it was written" for key in wrong)

    def _cast(self, column: str, table: Straight, place: int) -> sql.Composable:
        """What came, in the sink's type. Of another type it is read anew from its text, as COPY would."""
        arrived = sql.SQL("a.{}").format(sql.Identifier(f"c{place}"))
        if self.source.types[table.columns[column]] == self.sink.types[column]:
            return arrived
        return sql.SQL("{}::text::{}").format(arrived, sql.SQL(self.sink.types[column]))

    def _equal(self, table: Straight) -> sql.Composable:
        """Whether the row `t` holds what came: to the last bit, and of another type by its text."""
        exact, texts = [], []
        for place, column in enumerate(self._columns):
            arrived = sql.SQL("a.{}").format(sql.Identifier(f"c{place}"))
            held = sql.SQL("t.{}").format(sql.Identifier(column))
            if self.source.types[table.columns[column]] == self.sink.types[column]:
                exact.append((held, arrived))
            else:
                texts.append(sql.SQL("{}::text IS NOT DISTINCT FROM {}::text").format(held, arrived))
        for column, value in table.constants.items():
            texts.append(sql.SQL("t.{}::text IS NOT DISTINCT FROM {}::text").format(
                sql.Identifier(column), sql.Literal(value)))  # fmt: skip
        if exact:
            images = [sql.SQL(", ").join(side) for side in zip(*exact, strict=True)]
            texts.insert(0, sql.SQL("ROW({})::record OPERATOR(pg_catalog.*=) ROW({})::record").format(*images))
        return sql.SQL(" AND ").join(texts)


def _reading(table: Straight, source: Relation, columns: Sequence[str], limit: int) -> sql.Composed:
    """What takes entries out of the log and gives their rows: whether it is there, then the columns."""
    key = {column: sql.Identifier(f"k{place}") for place, column in enumerate(source.key)}
    shown: list[sql.Composable] = [sql.SQL("t.{} IS NOT NULL").format(sql.Identifier(source.key[0]))]
    for column in columns:
        held = sql.SQL("t.{}").format(sql.Identifier(table.columns[column]))
        logged = key.get(table.columns[column])
        shown.append(sql.SQL("COALESCE({}, e.{})").format(held, logged) if logged else held)
    return sql.SQL(
        """COPY (
WITH taken AS (
  DELETE FROM {log} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {log} WHERE k0 IS NOT NULL LIMIT {limit} FOR UPDATE SKIP LOCKED)) RETURNING {key})
SELECT {shown} FROM (SELECT DISTINCT {key} FROM taken ORDER BY {key}) AS e LEFT JOIN ONLY {table} AS t ON {same}
) TO STDOUT"""
    ).format(
        log=source.log,
        limit=sql.Literal(limit),
        key=sql.SQL(", ").join(key.values()),
        shown=sql.SQL(", ").join(shown),
        table=source.identifier,
        same=sql.SQL(" AND ").join(
            sql.SQL("t.{} = e.{}").format(sql.Identifier(column), name) for column, name in key.items()
        ),
    )
