"""What the migrations between two revisions do to rows that are already there, and what they cost.

Facts come from `data/schema_effects.toml`, which names its source for each. Everything not named is additive.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources

from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine

# Bookkeeping of Alembic itself: changes with every migration.
VERSION_TABLES = frozenset({"alembic_version", "alembic_version_auth"})


class Cost(Value, frozen=True):
    """Seconds per million rows of one table, by engine. `superlinear`: the figure holds for 100,000 rows at most."""

    of: str
    seconds_per_million: dict[str, float]
    measured: bool
    superlinear: bool = False


class Effect(Value, frozen=True):
    """One revision: tables whose old rows may change (with the reason), columns that go away, and costs.

    `grows` names those of `rows` that may have more rows afterwards than before.
    """

    title: str
    source: str
    rows: dict[str, str]
    grows: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - msgspec copies an empty default
    cost: tuple[Cost, ...] = ()


@functools.cache
def _effects() -> Mapping[str, Mapping[str, Effect]]:
    text = resources.files("liftlock.knowledge").joinpath("data/schema_effects.toml").read_text("utf-8")
    return from_builtins(tomllib.loads(text), dict[str, dict[str, Effect]])


def effect(chain: Role, revision: str) -> Effect | None:
    """What one revision of a chain does beyond adding, or None."""
    return _effects().get(_chain(chain), {}).get(revision)


def changed_tables(chain: Role, revisions: Iterable[str]) -> dict[str, str]:
    """Tables whose old rows these revisions may change -> why."""
    found: dict[str, str] = {}
    for revision in revisions:
        known = effect(chain, revision)
        if known is not None:
            found.update({table: f"{revision}: {reason}" for table, reason in known.rows.items()})
    return found


def growing_tables(chain: Role, revisions: Iterable[str]) -> frozenset[str]:
    """Tables of `changed_tables` to which these revisions add rows."""
    known = (effect(chain, revision) for revision in revisions)
    return frozenset(table for each in known if each is not None for table in each.grows)


def dropped_columns(chain: Role, revisions: Iterable[str]) -> dict[str, frozenset[str]]:
    """Table -> columns that these revisions drop or rename away."""
    found: dict[str, frozenset[str]] = {}
    for revision in revisions:
        known = effect(chain, revision)
        for table, columns in (known.columns if known else {}).items():
            found[table] = found.get(table, frozenset()) | frozenset(columns)
    return found


def migration_seconds(
    chain: Role, revisions: Iterable[str], rows: Mapping[str, int], engine: Engine
) -> tuple[float, float]:
    """A low and a high guess, in seconds, for running these revisions on tables of these sizes.

    The base is what an empty database takes (0.1 to 0.4 s for any of them here); factors are measured on a 2-core
    machine and doubled on the high side, four-fold where they were not measured.
    """
    low = high = 0.0
    for revision in revisions:
        low, high = low + 0.005, high + 0.05
        known = effect(chain, revision)
        for cost in known.cost if known else ():
            count = rows.get(cost.of, 0) / 1e6
            factor = cost.seconds_per_million.get(engine.value, max(cost.seconds_per_million.values()))
            seconds = count * factor * (1 + count * 10 if cost.superlinear else 1)
            low, high = low + seconds / 2, high + seconds * (2 if cost.measured else 4)
    return low, high


def _chain(role: Role) -> str:
    return "auth" if role is Role.AUTH else "tracking"
