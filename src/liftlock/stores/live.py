"""What a database must be able to do while people keep writing to it: the interface under an online upgrade.

Words: *blue* is the database that serves now, *green* the one that will. Both are of one engine. Blue's triggers log
the key of every row that is inserted, updated (the key before and the key after) or deleted; what is applied to
green is always the current state of such rows, never an operation. So order, repetition and crashes do not matter.
The rules (I1 to I10 of `docs/explanation/online-upgrade.md`) that this interface is about: the triggers are in place
before anything is copied (I1); log and rows are read in one view (I2); log entries are consumed as an exact set, never
by a cursor (I3), and only after what they stand for was committed in green (I4); an update logs both keys (I5); a
fence stands inside the database (I9).

Everything liftlock puts into a database is named so that `stores` hides it: from facts, columns, fingerprints,
schema dumps, snapshots and copies. `release` removes it without a trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from liftlock.model.codec import Value
from liftlock.model.progress import Observer, silent
from liftlock.stores.interface import Store

Key = tuple[Any, ...]
"""Values of a primary key, in key order, in the engine's own exact form (SQLite: as stored; PostgreSQL: text)."""

Row = tuple[Any, ...]
"""Values of a table's stored columns, in `Shape.columns` order, in the same exact form: what was read can be written
back without loss (NaN, -0.0, bytes, JSON text, 64-bit numbers) and equal values are equal objects."""


class Shape(Value, frozen=True):
    """One table: the columns that hold data of their own (generated ones left out), and those of its primary key.

    `defaults` maps a column to the value a new row gets when none is named (None where that is NULL), as in a Row.
    `references` lists foreign keys as (columns, table referred to, its columns).
    """

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    defaults: dict[str, Any]
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]


class Straight(Value, frozen=True):
    """A table whose rows go over as they are: columns may be called otherwise, new ones hold constants.

    `columns` maps the sink's columns to the source's, `constants` the sink's other ones to their values, as in a Row.
    `key` is the source's primary key; with constants it is the sink's.
    """

    source: str
    table: str
    key: tuple[str, ...]
    columns: dict[str, str]
    constants: dict[str, Any]


class Moved(Value, frozen=True):
    """What one `Live.transfer` did: keys brought over and seconds of the longest view on the source.

    `wrong` has a line for each row that the sink did not hold as it was delivered; then the last portion was not kept.
    """

    keys: int = 0
    viewed: float = 0.0
    wrong: tuple[str, ...] = ()


class View(Protocol):
    """One consistent state of a database that others write to. Reads are short: SQLite's readers block its writers."""

    changed: Mapping[str, frozenset[Key]]
    """Table -> keys that may have changed and are not consumed (at most the asked number of log entries)."""

    whole: frozenset[str]
    """Tables of which everything may have changed (TRUNCATE)."""

    token: Any
    """Names exactly the log entries behind `changed` and `whole`, for `Live.consume`. JSON-able is not promised."""

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """The rows whose `columns` have one of these combinations of values; no order, no repetition."""
        ...

    def after(self, table: str, key: Key | None, limit: int) -> list[Row]:
        """At most `limit` rows behind `key` (None: from the start) in the order of the primary key."""
        ...

    def between(self, table: str, low: Key | None, high: Key | None) -> list[Row]:
        """The rows with low < primary key <= high in that order; None leaves that end open."""
        ...


class Target(Protocol):
    """One transaction in which rows are replaced. Foreign keys are not enforced in it, and no trigger of liftlock acts
    (neither capture nor fence), nor one of MLflow's.
    """

    def delete(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> int:
        """Delete the rows whose `columns` have one of these combinations of values (NULL equals NULL); how many."""
        ...

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """Insert rows given as values of `columns`. Raises StoreError; the whole transaction is then lost."""
        ...

    def refused(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> list[tuple[Row, str]]:
        """As `insert`, row by row where it must be: the rows this schema cannot hold, with the database's reason."""
        ...

    def clear(self, table: str) -> None:
        """Delete all rows."""
        ...

    def rows(self, table: str, columns: Sequence[str], values: Iterable[Key]) -> list[Row]:
        """As `View.rows`, in this transaction."""
        ...


class Live(Protocol):
    """Capture, fence, apply on one database. Every effect is named with `side_effect`, may be killed before or after,
    and may be repeated. All methods raise StoreError (retryable where waiting helps).
    """

    store: Store

    def obstacles(self, *, applying: bool) -> tuple[str, ...]:
        """Why capture (or, with `applying`, applying) cannot work here: rights, tables without a primary key, virtual
        tables, a subscription of logical replication, unique indexes on expressions; one sentence with a remedy each.
        """
        ...

    def shapes(self) -> dict[str, Shape]:
        """All tables but Alembic's version tables, the engine's and liftlock's."""
        ...

    def capture(self, *, patience: float = 20.0) -> None:
        """Put capture triggers on all tables and make sure that no writer from before them is still in a transaction.

        Waits for locks in short tries (nobody else waits behind us for more than a second), `patience` seconds in all.
        Idempotent: a complete capture is kept with its log, an incomplete one is made anew.
        """
        ...

    def captured(self) -> bool:
        """Whether a complete capture is in place and the schema is still the one it was made for."""
        ...

    def backlog(self) -> int:
        """Log entries not consumed yet."""
        ...

    def changes(self, limit: int | None = None) -> AbstractContextManager[View]:
        """One view of the log (its oldest `limit` entries) and the rows, without blocking writers longer than the
        reading takes. Raises StoreError where the schema is no longer the one that was captured.
        """
        ...

    def look(self) -> AbstractContextManager[View]:
        """One view of the rows and of all keys that are logged; `token` is of no use. Works without capture too."""
        ...

    def consume(self, token: Any) -> None:
        """Delete exactly these log entries."""
        ...

    def transfer(self, sink: Live, tables: Sequence[Straight], *, view: float, seconds: float) -> Moved:
        """Bring what changed in these tables over to `sink` (of the same engine) without taking rows into Python.

        For a long log: in portions, each a view of log and rows of about `view` seconds and memory of some tens of MB,
        one transaction in the sink as `applying` makes it, in which every row is read back and compared, and only then
        the consumption of exactly those entries. Goes on for about `seconds` or until nothing is left; entries that
        say a whole table changed are left alone. May be killed anywhere and repeated. Raises StoreError: what was not
        consumed comes again.
        """
        ...

    def fence(self, label: str, *, seconds: float, patience: float) -> AbstractContextManager[View]:
        """Keep everybody out: wait at most `patience` seconds for writers in a transaction, then, in one transaction
        that is committed when the block ends (rolled back when it raises), refuse every write that does not come
        through `applying`, and give a view of all that is left in the log.

        The fence falls by itself `seconds` after it was put up, by the database's clock, unless `fence_for_good`
        follows: an orchestrator that died must not keep people out. Refused writers get an error that says `label`.
        """
        ...

    def fence_for_good(self, label: str) -> None:
        """Let the fence stand until `unfence`. Idempotent; also where the first one has fallen already."""
        ...

    def unfence(self) -> None:
        """Take the fence away. Idempotent."""
        ...

    def fenced(self) -> bool:
        """Whether a fence stands now (one that fell by itself does not)."""
        ...

    def applying(self) -> AbstractContextManager[Target]:
        """A transaction for applying, committed when the block ends, rolled back when it raises."""
        ...

    def copy_to(self, target: Store, *, observer: Observer = silent) -> None:
        """Fill `target` (which does not exist yet) with a consistent copy of this database, without anything of ours in
        it and without blocking writers. A killed call leaves what `target.drop` removes.
        """
        ...

    def sequences(self) -> dict[str, int]:
        """Counters outside of rows (PostgreSQL's sequences, SQLite's AUTOINCREMENT) -> the last value given out."""
        ...

    def advance(self, values: Mapping[str, int]) -> None:
        """Move the counters that exist here to at least these values."""
        ...

    def release(self) -> None:
        """Remove capture, log and fence. Idempotent; leaves the schema as if we had never been there."""
        ...
