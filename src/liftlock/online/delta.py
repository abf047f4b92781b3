"""A change of blue on its way to green: rows read in one view, and what they replace. States, never operations."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from liftlock.online.families import Family
from liftlock.stores.live import Key, Row, Shape, View

_PAGE = 5_000


@dataclass(frozen=True)
class Group:
    """The rows of one family that must be transformed together.

    `roots` are the ids of the roots that may have changed, `rows` all rows of blue under them, by table. `strays` are
    changed keys of members whose key does not hold the root's id: where such a row is gone, nothing else names it.
    `all`: everything in the family may have changed; then `rows` has everything.
    """

    roots: frozenset[Any]
    rows: Mapping[str, Sequence[Row]]
    strays: Mapping[str, frozenset[Key]]
    all: bool = False


@dataclass(frozen=True)
class Delta:
    """What one view of blue said, complete for the transformation. `keys` and `rows` are of projected tables of blue.

    `cleared` tables were read whole. `whole` has all rows of all tables, where the database is translated whole.
    `ranges` and `unsettled` are set by `Aligned.part` only: the keys' range that was read completely (low excluded,
    None open), and the keys in it that have changed since green was last made equal.
    """

    keys: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()
    groups: Mapping[str, Group] = field(default_factory=dict)
    context: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    whole: Mapping[str, Sequence[Row]] | None = None
    ranges: Mapping[str, tuple[Key | None, Key | None]] = field(default_factory=dict)
    unsettled: Mapping[str, frozenset[Key]] = field(default_factory=dict)


@dataclass(frozen=True)
class Deletion:
    """Rows of a table of green that go, or are put in anew: by values of `columns`."""

    table: str
    columns: tuple[str, ...]
    values: Collection[Key]


@dataclass(frozen=True)
class Replacement:
    """What green should hold for a delta: `clear` these tables, carry out `deletions`, then insert `rows`.

    `rows` are in the order of `Shape.columns`. `sequences` are counters green must not fall behind (as `Live.advance`
    takes them); there are some only where the whole database went through the migrations.
    """

    clear: tuple[str, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    sequences: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """A stretch of blue to verify: `delta` for `expected` and `current`, and where the next one begins (None: at the
    end).
    """

    delta: Delta
    last: Key | None


def changed_group(view: View, family: Family, shapes: Mapping[str, Shape]) -> Group | None:
    """The group of everything that a view says may have changed in a family, or None."""
    members = family.within(shapes)
    if members.keys() & view.whole:
        return Group(frozenset(), {name: list(all_rows(view, name, shapes[name])) for name in members}, {}, all=True)
    roots, strays = changed_roots(view, family, shapes)
    if not roots and not strays:
        return None
    group = group_of(view, members, roots)
    return Group(group.roots, group.rows, strays)


def changed_roots(
    view: View, family: Family, shapes: Mapping[str, Shape]
) -> tuple[frozenset[Any], dict[str, frozenset[Key]]]:
    """The roots of a family under which something may have changed, and the strays, where no table changed whole."""
    roots: set[Any] = set()
    strays: dict[str, frozenset[Key]] = {}
    for name, column in family.within(shapes).items():
        changed = view.changed.get(name)
        if not changed:
            continue
        shape = shapes[name]
        if column in shape.key:
            roots.update(map(itemgetter(shape.key.index(column)), changed))
        else:
            strays[name] = changed
            roots.update(map(itemgetter(shape.columns.index(column)), view.rows(name, shape.key, changed)))
    return frozenset(roots), strays


def group_of(view: View, members: Mapping[str, str], roots: Collection[Any]) -> Group:
    """All rows under these roots."""
    wanted = [(root,) for root in roots]
    return Group(frozenset(roots), {name: view.rows(name, (column,), wanted) for name, column in members.items()}, {})


def key_of(shape: Shape, row: Row) -> Key:
    """A row's primary key."""
    return tuple(row[shape.columns.index(column)] for column in shape.key)


def all_rows(view: View, table: str, shape: Shape) -> Iterator[Row]:
    """All rows of a table, page by page."""
    after: Key | None = None
    while True:
        rows = view.after(table, after, _PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        after = key_of(shape, rows[-1])
