"""Fingerprints of databases: per table the number of rows and two independent 64-bit sums over all rows.

A sum (not XOR: XOR cancels pairs) over a hash of each row does not depend on the order of rows and can be kept up
incrementally: F' = F - h(removed) + h(added), modulo 2**64. What is hashed is each engine's own (`algorithm` names it)
and two engines' fingerprints are never comparable. SQLite: the row's values as one MessagePack array, columns in name
order, XXH3-128 seeded by the columns' names, its halves summed apart; types count (1, 1.0 and '1' differ).
PostgreSQL: the server's 64-bit hash functions chained over the values in that order, each hash seeding the next,
from two first seeds made of the columns' names; values count, types do not (a widened column keeps its fingerprint).
"""

from __future__ import annotations

from liftlock.model.codec import Value

MODULUS = 1 << 64


class TableFingerprint(Value, frozen=True):
    """Rows of one table and the two sums (decimal text: JSON numbers cannot hold 64 bits everywhere).

    `columns` are the columns that were hashed, in name order: two fingerprints are comparable only if these
    and `algorithm` of the whole are equal.
    """

    table: str
    rows: int
    sum1: str
    sum2: str
    columns: tuple[str, ...]


class Fingerprint(Value, frozen=True):
    """All tables of one database at one moment."""

    algorithm: str
    tables: tuple[TableFingerprint, ...]
    seconds: float = 0.0

    def table(self, name: str) -> TableFingerprint | None:
        """The fingerprint of one table, or None."""
        return next((entry for entry in self.tables if entry.table == name), None)

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(entry.rows for entry in self.tables)

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Table -> hashed columns; hand it to `Store.fingerprint` to hash another database alike."""
        return {entry.table: entry.columns for entry in self.tables}

    def differences(self, other: Fingerprint) -> tuple[str, ...]:
        """The names of tables that are missing on one side or not equal, in name order."""
        mine = {entry.table: entry for entry in self.tables}
        theirs = {entry.table: entry for entry in other.tables}
        if self.algorithm != other.algorithm:
            return tuple(sorted(mine.keys() | theirs.keys()))
        return tuple(sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)))
