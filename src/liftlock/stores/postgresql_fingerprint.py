"""Fingerprints of a PostgreSQL database, computed by the server.

Per row the text of `ROW(columns in name order)` is hashed twice with `hashtextextended` (64 bits, PostgreSQL 11 on) and
summed; the two seeds are made from the columns' names, so the names are part of the hash without being hashed per
row. The text of a row is unambiguous: NULL is nothing, '' is "", and commas, quotes and parentheses are quoted. It
carries no types, so a column that was only widened keeps its fingerprint. The hash is over bytes: equal for equal
data in databases of the same encoding, whatever the collation.
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

ALGORITHM = "pg-hashtextextended-1"
SEQUENCES = "(sequences)"
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
    observer: Observer = silent,
) -> Fingerprint:
    """Hash all tables, or the given columns of the given tables, inside the connection's open transaction.

    Sequences are one more entry, `(sequences)`, whose columns are the sequences' names: they are no part of a
    transaction's view and show the values of now. Raises StoreError when a table, column or sequence is missing.
    """
    started = clock.monotonic()
    connection.execute(_PARALLEL)
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


def table_query(table: sql.Identifier, names: Iterable[str]) -> sql.Composed:
    """One SELECT that gives rows, first sum and second sum (numerics, not yet modulo 2**64) of a table."""
    ordered = sorted(names)
    # OFFSET 0 keeps the planner from making the text once per hash; parallel plans stay possible.
    return sql.SQL(
        "SELECT count(*), COALESCE(sum(hashtextextended(x, {})), 0), COALESCE(sum(hashtextextended(x, {})), 0)"
        " FROM (SELECT ROW({})::text AS x FROM ONLY {} OFFSET 0) AS q"
    ).format(
        sql.Literal(_seed(ordered, 1)),
        sql.Literal(_seed(ordered, 2)),
        sql.SQL(", ").join(map(sql.Identifier, ordered)),
        table,
    )


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
    row = connection.execute(table_query(table.identifier, names)).fetchone()
    assert row is not None
    rows, one, two = (int(value) for value in row)
    return TableFingerprint(
        table=table.name, rows=rows, sum1=str(one % MODULUS), sum2=str(two % MODULUS), columns=tuple(sorted(names))
    )


def _seed(names: Sequence[str], number: int) -> int:
    text = f"{number}\0" + "\0".join(names)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)
