"""Fingerprints of a PostgreSQL database, computed by the server.

Per row the values are hashed one after the other, columns in name order, each hash being the seed of the next: with
PostgreSQL's own 64-bit functions (11 on) for numbers and text, and over the value's text for every other type. So
nothing depends on separators or quoting, and no text is built for numbers. NULL changes the seed, which keeps it
apart from ''. Two first seeds, made from the columns' names, give two sums. Types are no part of it: a column that was
only widened keeps its fingerprint. Hashes are over bytes, so equal data is equal in databases of the same encoding,
whatever the collation; 0.0 and -0.0 are alike, as they are to every comparison.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from psycopg import sql

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.fingerprint import MODULUS, Fingerprint, TableFingerprint
from liftlock.model.progress import Observer, Progress, silent
from liftlock.stores.postgresql_catalog import Table, sequences, tables
from liftlock.stores.postgresql_connect import Connection

ALGORITHM = "pg-chained-hash-1"
SEQUENCES = "(sequences)"
_NULL_MARK = 0x6C696674_6C6F636B  # any constant with many bits set
_AS_INTEGER = ("hashint8extended", "::bigint", "0")
_AS_FLOAT = ("hashfloat8extended", "::float8", "0")
_AS_TEXT = ("hashtextextended", "::text", "''")
# Type -> the function that hashes it, the cast it needs and what stands in for NULL.
_FUNCTIONS = {
    "int2": _AS_INTEGER, "int4": _AS_INTEGER, "int8": _AS_INTEGER,
    "bool": ("hashint8extended", "::int", "0"),
    "float4": _AS_FLOAT, "float8": _AS_FLOAT,
}  # fmt: skip
# Plans use parallel workers for every table but the smallest: the server's thresholds are meant for quick queries.
_PARALLEL = """
SET LOCAL parallel_setup_cost = 100;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = '1MB';
SELECT set_config('max_parallel_workers_per_gather',
                  GREATEST(2, current_setting('max_parallel_workers')::int / 2)::text, true)
"""


def fingerprint(
    connection: Connection,
    *,
    columns: Mapping[str, Sequence[str]] | None = None,
    parallel: bool = True,
    observer: Observer = silent,
) -> Fingerprint:
    """Hash all tables, or the given columns of the given tables, inside the connection's open transaction.

    `parallel` uses several processors, which is only faster where nothing else keeps them busy.

    Sequences are one more entry, `(sequences)`, whose columns are the sequences' names: they are no part of a
    transaction's view and show the values of now. Raises StoreError when a table, column or sequence is missing.
    """
    started = clock.monotonic()
    connection.execute(_PARALLEL if parallel else "SET LOCAL max_parallel_workers_per_gather = 0")
    found = tables(connection)
    chosen = _choose(found, columns)
    total = sum(max(table.estimate, 0) for table, _ in chosen)
    done = 0
    entries = []
    for table, names in chosen:
        entries.append(_hash_table(connection, table, names))
        done += entries[-1].rows
        observer(Progress(work="fingerprint", done=done, total=max(total, done), unit="rows"))
    if columns is None or SEQUENCES in columns:
        values = sequences(connection)
        entries.append(hash_sequences(values, columns[SEQUENCES] if columns is not None else None))
    entries.sort(key=lambda entry: entry.table)
    return Fingerprint(algorithm=ALGORITHM, tables=tuple(entries), seconds=clock.monotonic() - started)


def _query(table: Table, names: Iterable[str]) -> sql.Composed:
    """One SELECT that gives rows, first sum and second sum (numerics, not yet modulo 2**64) of a table."""
    ordered = sorted(names)
    one, two = (_chain(table, ordered, _seed(ordered, number)) for number in (1, 2))
    return sql.SQL("SELECT count(*), COALESCE(sum({}), 0), COALESCE(sum({}), 0) FROM ONLY {}").format(
        one, two, table.identifier
    )


def _chain(table: Table, names: Sequence[str], seed: int) -> sql.Composable:
    """The hash of one row: each column's hash seeded with the one before."""
    chained: sql.Composable = sql.SQL("{}::bigint").format(sql.Literal(seed))
    for name in names:
        kind, nullable = table.kinds[name]
        column: sql.Composable = sql.Identifier(name)
        function, cast, empty = _FUNCTIONS.get(kind, _AS_TEXT)
        value: sql.Composable = sql.SQL("{}" + cast).format(column)
        if nullable:
            value = sql.SQL("COALESCE({}, {})").format(value, sql.SQL(empty))
            chained = sql.SQL("{} # CASE WHEN {} IS NULL THEN {}::bigint ELSE 0 END").format(
                chained, column, sql.Literal(_NULL_MARK)
            )
        if function == "hashtextextended":
            value = sql.SQL('{} COLLATE "C"').format(value)
        chained = sql.SQL("pg_catalog.{}({}, {})").format(sql.SQL(function), value, chained)
    return chained


def hash_sequences(values: Mapping[str, tuple[int, bool]], names: Iterable[str] | None = None) -> TableFingerprint:
    """The entry `(sequences)` of these values, or of those of them that are named."""
    chosen = sorted(values if names is None else names)
    if absent := [name for name in chosen if name not in values]:
        raise StoreError(f"there is no sequence {absent[0]} in this database")
    sums = [0, 0]
    for name in chosen:
        last, called = values[name]
        for number in (0, 1):
            digest = hashlib.blake2b(f"{name}={last},{called}".encode(), digest_size=8, person=b"%d" % number).digest()
            sums[number] += int.from_bytes(digest, "big")
    one, two = (str(value % MODULUS) for value in sums)
    return TableFingerprint(table=SEQUENCES, rows=len(chosen), sum1=one, sum2=two, columns=tuple(chosen))


def _choose(
    found: tuple[Table, ...], columns: Mapping[str, Sequence[str]] | None
) -> list[tuple[Table, tuple[str, ...]]]:
    if columns is None:
        return [(table, table.columns) for table in found]
    known = {table.name: table for table in found}
    chosen = []
    for name, wanted in columns.items():
        if name == SEQUENCES:
            continue
        table = known.get(name)
        if table is None:
            raise StoreError(f"there is no table {name} in this database")
        if absent := [column for column in wanted if column not in table.columns]:
            raise StoreError(f"there is no column {absent[0]} in table {name}")
        chosen.append((table, tuple(wanted)))
    return chosen


def _hash_table(connection: Connection, table: Table, names: Iterable[str]) -> TableFingerprint:
    row = connection.execute(_query(table, names)).fetchone()
    assert row is not None
    rows, one, two = (int(value) for value in row)
    return TableFingerprint(
        table=table.name, rows=rows, sum1=str(one % MODULUS), sum2=str(two % MODULUS), columns=tuple(sorted(names))
    )


def _seed(names: Sequence[str], number: int) -> int:
    text = f"{number}\0" + "\0".join(names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
