"""Hash rows of a database so that equal content gives equal sums, whatever the order of rows.

Each row becomes one MessagePack array of its values, columns in name order, and is hashed with XXH3-128 seeded
by the column names; the two 64-bit halves are summed separately modulo 2**64. MessagePack is the text of the
values: it tags types (NULL, '', 'NULL', 1, 1.0, '1' and a blob all differ), keeps the eight bytes of a float
(-0.0, infinities, the last digit) and the whole of an integer, and puts a length before every string, so that
no two rows give the same bytes. SQLite's own `quote()` does not: it cuts text at a NUL byte and prints floats
differently from release to release.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
import xxhash

from liftlock.model.fingerprint import MODULUS, TableFingerprint

_encode = msgspec.msgpack.Encoder().encode
_INVALID_TEXT = 1


def text_or_bytes(raw: bytes) -> str | msgspec.msgpack.Ext:
    """Text as a string, or, where it is not valid UTF-8, its bytes marked as text that is none."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return msgspec.msgpack.Ext(_INVALID_TEXT, raw)


class TableHasher:
    """Adds up the hashes of one table's rows. Rows come as sequences of values in the order of `columns`."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        self._table = table
        self._columns = tuple(columns)
        seed = xxhash.xxh3_64_intdigest(_encode(self._columns))
        self._hash: Callable[[bytes], bytes] = partial(xxhash.xxh3_128_digest, seed=seed)
        self.rows = 0
        self._sum1 = 0
        self._sum2 = 0

    def add(self, rows: Sequence[Iterable[Any]]) -> None:
        """Add some rows."""
        # Whole batches go through C: a Python loop over rows takes four times as long.
        halves = array("Q", b"".join(map(self._hash, map(_encode, rows))))
        if sys.byteorder == "little":
            halves.byteswap()
        self.rows += len(rows)
        self._sum1 = (self._sum1 + sum(halves[0::2])) % MODULUS
        self._sum2 = (self._sum2 + sum(halves[1::2])) % MODULUS

    def result(self) -> TableFingerprint:
        """The fingerprint of all rows so far."""
        return TableFingerprint(
            table=self._table, rows=self.rows, sum1=str(self._sum1), sum2=str(self._sum2), columns=self._columns
        )
