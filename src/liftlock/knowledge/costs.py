"""What each Alembic revision of MLflow costs, locks, and fails on: measured by running it, not read off it.

`data/revision_costs.json` is written by `make revision-costs`: every revision was run on SQLite and on PostgreSQL over
copies of one database that differ in the size of one table (or of one family of tables), and over copies with rows that
spoil it. Seconds are CPU seconds of the migrating process and of the database server together, so they say what the
work is and not how busy the machine was; a migration is one statement after the other, so a quiet machine of the same
kind takes that long. A revision or an engine that was not measured has no figure, and none is made up.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from importlib import resources

import msgspec

from liftlock.knowledge.revisions import chain_name
from liftlock.model.codec import Value, from_json
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine

FORMAT = 1
# How far another machine, wider rows and another state of caches may be from what was measured.
_FASTER, _SLOWER = 2.0, 2.0
_WARM = 2.0  # a revision that was run alone had a new connection and cold caches; in a row of them it has not
_BEYOND = 2.0  # once more for sizes more than ten times of any that was measured
# PostgreSQL's lock modes that shut out everybody, and those that let people read only.
_EVERYBODY, _WRITERS = "AccessExclusiveLock", frozenset({"ShareLock", "ShareRowExclusiveLock", "ExclusiveLock"})
_MOST = 2.0  # no revision's time grows faster than with the square of its rows


class Load(Value, frozen=True):
    """Seconds by the rows of one table, over what the revision takes on a dozen rows; sizes ascend.

    `per` are the rows of other tables that grew with each of its rows (what hangs on a trace).
    """

    of: str
    rows: tuple[int, ...]
    seconds: tuple[float, ...]
    per: dict[str, int] = msgspec.field(default_factory=dict)

    def size(self, rows: Mapping[str, int]) -> int:
        """How many rows of `of` a database with these tables counts as: more may hang on them than usual."""
        return max(rows.get(self.of, 0), *(math.ceil(rows.get(table, 0) / each) for table, each in self.per.items()), 0)

    def at(self, count: int) -> float:
        """Seconds at this size: straight lines between what was measured, beyond it growing as between the last two."""
        points = [(0, 0.0), *zip(self.rows, self.seconds, strict=True)]
        for (few, short), (many, long) in itertools.pairwise(points):
            if count <= many:
                return short + (long - short) * (count - few) / (many - few)
        (few, short), (many, long) = points[-2:]
        power = math.log(long / short) / math.log(many / few) if short > 0 and long > short else 1.0
        return long * math.pow(count / many, min(_MOST, max(1.0, power)))

    def at_least(self, count: int) -> float:
        """Seconds at this size when time grows no faster than rows beyond what was measured."""
        return min(self.at(count), self.seconds[-1] * max(1.0, count / self.rows[-1]))

    @property
    def per_million(self) -> str:
        """Seconds per million rows at the largest size that was measured, to two digits, for a person."""
        return f"{float(f'{self.seconds[-1] / self.rows[-1] * 1e6:.2g}'):,.12g} s"


class Abort(Value, frozen=True):
    """What was put into the database, and the error the revision then failed with."""

    planted: str
    error: str


class Measured(Value, frozen=True):
    """One revision on one engine, whose `version` is named: `base` seconds of an upgrade by it alone on a dozen rows,
    what rows add, the strongest lock held on each table that was there until the transaction ended (PostgreSQL), and
    what made it fail."""

    version: str
    base: float
    loads: tuple[Load, ...] = ()
    locks: dict[str, str] = msgspec.field(default_factory=dict)
    aborts: tuple[Abort, ...] = ()

    def locked(self, rows: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
        """Tables with rows that nobody can use (`everybody`) or write to (`writers`) until the transaction ends."""
        held = {table: mode for table, mode in self.locks.items() if rows.get(table)}
        kinds = {
            "everybody": tuple(sorted(table for table, mode in held.items() if mode == _EVERYBODY)),
            "writers": tuple(sorted(table for table, mode in held.items() if mode in _WRITERS)),
        }
        return {kind: tables for kind, tables in kinds.items() if tables}


class Cost(Value, frozen=True):
    """One revision of one chain, run on a day with the migration file of a release."""

    id: str
    chain: str
    day: str
    release: str
    engines: dict[Engine, Measured]


class Table(Value, frozen=True):
    """All that was measured, and on what machine."""

    machine: str
    revisions: tuple[Cost, ...]
    format: int = FORMAT


class Price(Value, frozen=True):
    """Seconds that revisions take on given rows, from `low` to `high`, and what that was worked out from."""

    low: float
    high: float
    basis: str


def load() -> Table:
    """The shipped table."""
    text = resources.files("liftlock.knowledge").joinpath("data/revision_costs.json").read_text("utf-8")
    return from_json(text, Table)


def cost(chain: Role, revision: str) -> Cost | None:
    """What was measured of a revision, or None."""
    return _by_id().get((chain_name(chain), revision))


def measured(chain: Role, revision: str, engine: Engine) -> Measured | None:
    """What was measured of a revision on an engine, or None."""
    found = cost(chain, revision)
    return found.engines.get(engine) if found is not None else None


def price(chain: Role, revision: str, rows: Mapping[str, int], engine: Engine) -> Price | None:
    """What a revision takes on tables of these sizes, without Alembic's start (see `together`); None when it was not
    measured on this engine."""
    found = cost(chain, revision)
    on = found.engines.get(engine) if found is not None else None
    if found is None or on is None:
        return None
    own = on.base - _start(chain, engine)
    low, high, said = own / _FASTER / _WARM, own * _SLOWER, []
    for each in on.loads:
        count = each.size(rows)
        seconds = each.at(count)
        beyond = _BEYOND if count > 10 * each.rows[-1] else 1.0
        low, high = low + each.at_least(count) / _FASTER, high + seconds * _SLOWER * beyond
        if seconds >= 0.01:
            said.append((seconds, f"{each.per_million} per million of {each.of}"))
    said.sort(reverse=True)
    heaviest = ", ".join(text for _, text in said[:2])
    return Price(low=low, high=high, basis=f"{heaviest or 'hardly any rows'}; {on.version} ({found.day})")


def together(chain: Role, names: Iterable[str], rows: Mapping[str, int], engine: Engine) -> tuple[float, float] | None:
    """Seconds of one upgrade by these revisions: they and Alembic's start; None when one of them was not measured."""
    wanted = tuple(names)
    start = _start(chain, engine) if wanted else 0.0
    low, high = start / _FASTER, start * _SLOWER
    for name in wanted:
        each = price(chain, name, rows, engine)
        if each is None:
            return None
        low, high = low + each.low, high + each.high
    return low, high


@functools.cache
def _start(chain: Role, engine: Engine) -> float:
    """Seconds of an upgrade that has hardly anything to do: the least any revision of the chain took."""
    known = (each.engines.get(engine) for each in _by_id().values() if each.chain == chain_name(chain))
    return min((each.base for each in known if each is not None), default=0.0)


@functools.cache
def _by_id() -> Mapping[tuple[str, str], Cost]:
    return {(each.chain, each.id): each for each in load().revisions}
