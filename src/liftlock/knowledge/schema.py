"""What the migrations between two revisions do to rows that are already there.

Facts come from `data/schema_effects.toml`, which names its source for each. Everything not named is additive.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources

from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Role

# Bookkeeping of Alembic itself: changes with every migration.
VERSION_TABLES = frozenset({"alembic_version", "alembic_version_auth"})


class Effect(Value, frozen=True):
    """One revision: tables whose old rows may change (with the reason), and columns that go away.

    `grows` names those of `rows` that may have more rows afterwards than before.
    """

    title: str
    source: str
    rows: dict[str, str]
    grows: tuple[str, ...] = ()
    columns: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - msgspec copies an empty default


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


def _chain(role: Role) -> str:
    return "auth" if role is Role.AUTH else "tracking"
