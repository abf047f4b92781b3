"""Bring what changed in blue into green's schema: read in one view, transform, replace. States, never operations.

    with blue.changes(limit) as view:
        delta = translator.read(view)
    replacement = translator.expected(delta)
    with green.applying() as target:
        translator.apply(replacement, target)

A batch with a limit may hold one side only of a swap of unique values (experiment B took the name that A, later in the
log, gave up). Then `insert` raises StoreError: read again without a limit, as one batch with everything cannot collide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from liftlock.errors import StoreError
from liftlock.online.compare import Difference, Layout, differences, layout
from liftlock.online.families import Family
from liftlock.online.scratch import Scratch
from liftlock.online.translation import WHOLE_ROWS, Rule, RuleKind, Translation
from liftlock.stores.live import Key, Row, Shape, Target, View

_PAGE = 5_000
EVERYTHING = "everything"
"""The one part of a database that is translated whole."""


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
    `ranges` and `unsettled` are set by `Translator.part` only: the keys' range that was read completely (low excluded,
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


class Translator:
    """Applies a translation. Without `scratch` it can do everything but what `Translation.needs_scratch` is about.

    `translation` must have no refusals. Not for several threads at once.
    """

    def __init__(
        self, translation: Translation, blue: Mapping[str, Shape], green: Mapping[str, Shape], scratch: Scratch | None
    ) -> None:
        assert not translation.refusals, translation.refusals
        self.translation = translation
        self._blue, self._green, self._scratch = blue, green, scratch
        self._projections = {
            rule.source: Projection(rule, blue[rule.source], green[rule.table])
            for rule in translation.of_kind(RuleKind.PROJECTED) if rule.source is not None
        }  # fmt: skip
        self._families = {family.name: family for family in translation.families}
        clocks, sums = translation.clocks, translation.sums
        self._layouts = {
            name: layout(shape.columns, shape.key, clocks=clocks.get(name, ()), sums=sums.get(name, ()))
            for name, shape in green.items()
        }

    def prepare(self) -> None:
        """Do ahead what the next `expected` would have to do first: call it before people are held. Idempotent."""
        if self._scratch is not None and self.translation.needs_scratch:
            self._scratch.prepare()

    # -- from blue --

    def read(self, view: View, *, everything: bool = False) -> Delta:
        """All that the changed keys of a view need, read in that view and nowhere else.

        `everything` reads all tables where the database is translated whole, changed or not: do that once before it is
        verified, because green's own migration may have given ids in another order. Raises StoreError.
        """
        if self.translation.whole:
            return Delta(whole=self._everything(view)) if everything or view.changed or view.whole else Delta()
        keys, rows = {}, {}
        for name in self._projections:
            if name in view.whole:
                keys[name], rows[name] = frozenset[Key](), list(all_rows(view, name, self._blue[name]))
            elif changed := view.changed.get(name):
                keys[name], rows[name] = changed, view.rows(name, self._blue[name].key, changed)
        groups = {
            name: group for name, family in self._families.items() if (group := changed_group(view, family, self._blue))
        }
        return Delta(
            keys=keys, rows=rows, cleared=frozenset(self._projections) & view.whole, groups=groups,
            context=self._context(view, groups.values()),
        )  # fmt: skip

    def _everything(self, view: View) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for name, shape in self._blue.items():
            found[name] = list(all_rows(view, name, shape))
            if sum(map(len, found.values())) > WHOLE_ROWS:
                raise StoreError(f"the database grew past {WHOLE_ROWS} rows, too many to migrate again at each change")
        return found

    def _context(self, view: View, groups: Iterable[Group]) -> dict[str, list[Row]]:
        """The rows outside of groups that they refer to, and those that these refer to: a migration checks them."""
        inside: set[str] = {name for family in self._families.values() for name in family.within(self._blue)}
        todo = [(name, rows) for group in groups for name, rows in group.rows.items()]
        found: dict[str, dict[Row, None]] = {}
        while todo:
            name, rows = todo.pop()
            shape = self._blue[name]
            for columns, table, referred in shape.references:
                if table in inside or table not in self._blue:
                    continue
                places = [shape.columns.index(column) for column in columns]
                values = {value for row in rows if None not in (value := tuple(row[place] for place in places))}
                new = (
                    [row for row in view.rows(table, referred, values) if row not in found.get(table, {})]
                    if values
                    else []
                )
                if new:
                    found.setdefault(table, {}).update(dict.fromkeys(new))
                    todo.append((table, new))
        return {table: list(rows) for table, rows in found.items()}

    # -- in green's schema --

    def expected(self, delta: Delta) -> Replacement:
        """What green should hold for a delta. Pure but for the scratch database, which is only used where groups (or a
        whole database) have rows. Raises StoreError and, where a migration fails on these rows, ReleaseError.
        """
        if delta.whole is not None:
            return self._expected_whole(delta.whole)
        clear: list[str] = []
        deletions: list[Deletion] = []
        rows: dict[str, Sequence[Row]] = {}
        for name, old in delta.rows.items():
            projection = self._projections[name]
            if name in delta.cleared:
                clear.append(projection.table)
            elif delta.keys.get(name):
                deletions.append(Deletion(projection.table, projection.place, projection.places(delta.keys[name])))
            rows[projection.table] = projection.rows(old)
        for name, group in delta.groups.items():
            for table, column in self._families[name].within(self._green).items():
                if group.all:
                    clear.append(table)
                    continue
                deletions.append(Deletion(table, (column,), [(root,) for root in group.roots]))
                if strays := group.strays.get(table):
                    deletions.append(Deletion(table, self._blue[table].key, strays))
        rows.update(self._migrated(delta))
        return Replacement(tuple(clear), tuple(deletions), rows)

    def _migrated(self, delta: Delta) -> dict[str, Sequence[Row]]:
        source: dict[str, Sequence[Row]] = {
            table: rows for group in delta.groups.values() for table, rows in group.rows.items() if rows
        }  # fmt: skip
        if not source:
            return {}
        wanted = {table for name in delta.groups for table in self._families[name].within(self._green)}
        return dict(self._scratched().migrate({**delta.context, **source}, sorted(wanted)).rows)

    def _expected_whole(self, rows: Mapping[str, Sequence[Row]]) -> Replacement:
        tables = [rule.table for rule in self.translation.of_kind(RuleKind.WHOLE)]
        found = self._scratched().migrate(rows, tables)
        return Replacement(clear=tuple(tables), rows=found.rows, sequences=found.sequences)

    def _scratched(self) -> Scratch:
        if self._scratch is None:
            raise StoreError("these rows have to go through the migrations, and no scratch database was given")
        return self._scratch

    # -- into green --

    def apply(self, replacement: Replacement, target: Target) -> None:
        """Make green hold what is expected. Applying it again changes nothing. Raises StoreError."""
        for table in replacement.clear:
            target.clear(table)
        for deletion in replacement.deletions:
            target.delete(deletion.table, deletion.columns, deletion.values)
        for table, rows in replacement.rows.items():
            if rows:
                target.insert(table, self._green[table].columns, rows)

    def differences(self, replacement: Replacement, target: Target) -> list[str]:
        """What green holds otherwise than was just applied, a line each: rows are read back by the keys and roots that
        were deleted and by the keys that were inserted. Clock columns are compared too.
        """
        found: dict[str, dict[Key, Row]] = {}
        for table, columns, values in self._places(replacement):
            how = self._layouts[table]
            found.setdefault(table, {}).update((how.key_of(row), row) for row in target.rows(table, columns, values))
        wrong: list[Difference] = []
        for table, rows in found.items():
            exact = Layout(self._layouts[table].columns, self._layouts[table].key)
            wrong += differences(table, exact, replacement.rows.get(table, ()), rows.values())
        return [str(each) for each in wrong]

    def _places(self, replacement: Replacement) -> Iterator[tuple[str, tuple[str, ...], Collection[Key]]]:
        found = set()
        for deletion in replacement.deletions:
            found.add(deletion.table)
            yield deletion.table, deletion.columns, deletion.values
        for table, rows in replacement.rows.items():
            if rows and table not in found:  # else they are among those of the deletions: by key, or by root
                yield table, self._green[table].key, [self._layouts[table].key_of(row) for row in rows]

    # -- verification --

    def parts(self) -> tuple[str, ...]:
        """What has to be verified, one after the other: names for `part`."""
        if self.translation.whole:
            return (EVERYTHING,)
        return (*sorted(self._projections), *sorted(self._families))

    def families(self) -> tuple[str, ...]:
        """The families that `unrooted` has to look through."""
        return tuple(sorted(self._families))

    def part(self, view: View, name: str, after: Key | None, limit: int) -> Part:
        """The next stretch of a part: at most `limit` rows (of a family: roots, with all that hangs on them).

        Keys that `view` says have changed are left out of the comparison: green is not expected to have them yet.
        Raises StoreError (retryable) where a table of the part may have changed whole: bring that over first.
        """
        if name == EVERYTHING:
            _settled(name, not view.changed and not view.whole)
            return Part(Delta(whole=self._everything(view)), None)
        if name in self._families:
            return self._family_part(view, self._families[name], after, limit)
        _settled(name, name not in view.whole)
        shape, projection = self._blue[name], self._projections[name]
        rows = view.after(name, after, limit) if projection.ordered else list(all_rows(view, name, shape))
        more = projection.ordered and len(rows) >= limit
        last = _key(shape, rows[-1]) if more else None
        unsettled = {name: view.changed.get(name, frozenset[Key]())}
        return Part(Delta(rows={name: rows}, ranges={name: (after, last)}, unsettled=unsettled), last)

    def _family_part(self, view: View, family: Family, after: Key | None, limit: int) -> Part:
        members = family.within(self._blue)
        _settled(family.name, not members.keys() & view.whole)
        shape = self._blue[family.root]
        tops = view.after(family.root, after, limit)
        last = _key(shape, tops[-1]) if len(tops) >= limit else None
        place = shape.columns.index(members[family.root])
        changed = changed_group(view, family, self._blue)
        busy = changed.roots if changed else frozenset[Any]()
        group = group_of(view, members, [row[place] for row in tops if row[place] not in busy])
        unsettled = {name: view.changed[name] for name in members if view.changed.get(name)}
        unsettled[family.root] = unsettled.get(family.root, frozenset()) | {(root,) for root in busy}
        return Part(
            Delta(
                groups={family.name: group}, context=self._context(view, [group]), ranges={family.root: (after, last)},
                unsettled=unsettled,
            ),
            last,
        )  # fmt: skip

    def current(self, view: View, delta: Delta) -> dict[str, list[Row]]:
        """What green holds now in the place of a part's delta, or of any delta's keys; `view` is of green."""
        if delta.whole is not None:
            return {rule.table: list(all_rows(view, rule.table, self._green[rule.table]))
                    for rule in self.translation.of_kind(RuleKind.WHOLE)}  # fmt: skip
        found: dict[str, list[Row]] = {}
        for name in delta.rows:
            projection = self._projections[name]
            if name in delta.ranges and projection.ordered:
                low, high = delta.ranges[name]
                found[projection.table] = view.between(
                    projection.table, low and projection.placed(low), high and projection.placed(high)
                )  # fmt: skip
            elif name in delta.ranges or name in delta.cleared:
                found[projection.table] = list(all_rows(view, projection.table, self._green[projection.table]))
            else:
                found[projection.table] = view.rows(
                    projection.table, projection.place, projection.places(delta.keys[name])
                )  # fmt: skip
        for name, group in delta.groups.items():
            found.update(self._current_group(view, self._families[name], group, delta))
        return found

    def _current_group(self, view: View, family: Family, group: Group, delta: Delta) -> dict[str, list[Row]]:
        members = family.within(self._green)
        if group.all:
            return {table: list(all_rows(view, table, self._green[table])) for table in members}
        roots = set(group.roots)
        if family.root in delta.ranges:
            shape, how = self._green[family.root], self._layouts[family.root]
            busy = delta.unsettled.get(family.root, frozenset())
            tops = view.between(family.root, *delta.ranges[family.root])
            place = shape.columns.index(members[family.root])
            roots.update(row[place] for row in tops if how.key_of(row) not in busy)
        wanted = [(root,) for root in roots]
        found: dict[str, dict[Key, Row]] = {}
        for table, column in members.items():
            how = self._layouts[table]
            rows = view.rows(table, (column,), wanted)
            if strays := group.strays.get(table):
                rows = [*rows, *view.rows(table, self._blue[table].key, strays)]
            found[table] = {how.key_of(row): row for row in rows}
        return {table: list(rows.values()) for table, rows in found.items()}

    def compare(self, replacement: Replacement, current: Mapping[str, Sequence[Row]], delta: Delta) -> list[Difference]:
        """Every row of green that is not as expected, but for unsettled keys; clock columns are not looked at."""
        wrong: list[Difference] = []
        skip = self._skipped(delta)
        for table in sorted(current.keys() | replacement.rows.keys()):
            found = differences(table, self._layouts[table], replacement.rows.get(table, ()), current.get(table, ()))
            wrong += [each for each in found if each.key not in skip.get(table, ())]
        return wrong

    def _skipped(self, delta: Delta) -> dict[str, Collection[Key]]:
        """Green's keys that are not settled."""
        found: dict[str, Collection[Key]] = {}
        for name, keys in delta.unsettled.items():
            projection = self._projections.get(name)
            if projection is None:
                found[name] = keys
            elif projection.exact:
                found[projection.table] = set(projection.places(keys))
        return found

    def unrooted(self, view: View, family: str, after: tuple[str, Key] | None, limit: int) -> tuple[list[str], Any]:
        """Look through green's rows of a family for such as hang on no root, which parts cannot see.

        Returns a line for each, and where to go on (None: done).
        """
        known = self._families[family]
        members = [name for name in sorted(known.within(self._green)) if name != known.root]
        table, key = after or (members[0] if members else "", None)
        if not table:
            return [], None
        shape = self._green[table]
        rows = view.after(table, key, limit)
        place = shape.columns.index(known.members[table])
        column = known.members[known.root]
        top = self._green[known.root].columns.index(column)
        roots = (
            {row[top] for row in view.rows(known.root, (column,), {(row[place],) for row in rows})} if rows else set()
        )
        lines = [str(Difference(table, _key(shape, row), "unexpected")) for row in rows if row[place] not in roots]
        if len(rows) >= limit:
            return lines, (table, _key(shape, rows[-1]))
        rest = members[members.index(table) + 1 :]
        return lines, (rest[0], None) if rest else None


class Projection:
    """One projected table: rows and keys of blue as green has them.

    `place` are the columns of green that name a row of blue: green's whole primary key where blue's key and constants
    make it up (`exact`). `ordered`: green's keys then stand in the order of blue's.
    """

    def __init__(self, rule: Rule, blue: Shape, green: Shape) -> None:
        self.table = green.name
        called = {old: new for new, old in rule.columns.items()}
        key = tuple(called[column] for column in blue.key)
        self.exact = set(green.key) <= set(key) | rule.constants.keys() and set(key) <= set(green.key)
        self.place = green.key if self.exact else key
        fixed = [column for column in green.key if column in rule.constants]
        self.ordered = self.exact and (*fixed, *key) == green.key
        self._rows = _picker([rule.columns.get(column) for column in green.columns], blue.columns,
                             [rule.constants.get(column) for column in green.columns])  # fmt: skip
        self._places = _picker([rule.columns[column] if column in key else None for column in self.place], blue.key,
                               [rule.constants.get(column) for column in self.place])  # fmt: skip

    def rows(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Rows of blue as rows of green."""
        return rows if self._rows is None else list(map(self._rows, rows))

    def placed(self, key: Key) -> Key:
        """A key of blue as values of `place`."""
        return key if self._places is None else self._places(key)

    def places(self, keys: Collection[Key]) -> Collection[Key]:
        """Keys of blue as values of `place`."""
        return keys if self._places is None else list(map(self._places, keys))


def changed_group(view: View, family: Family, shapes: Mapping[str, Shape]) -> Group | None:
    """The group of everything that a view says may have changed in a family, or None."""
    members = family.within(shapes)
    if members.keys() & view.whole:
        return Group(frozenset(), {name: list(all_rows(view, name, shapes[name])) for name in members}, {}, all=True)
    roots: set[Any] = set()
    strays: dict[str, frozenset[Key]] = {}
    for name, column in members.items():
        changed = view.changed.get(name)
        if not changed:
            continue
        shape = shapes[name]
        if column in shape.key:
            roots.update(map(itemgetter(shape.key.index(column)), changed))
        else:
            strays[name] = changed
            roots.update(map(itemgetter(shape.columns.index(column)), view.rows(name, shape.key, changed)))
    if not roots and not strays:
        return None
    group = group_of(view, members, roots)
    return Group(group.roots, group.rows, strays)


def group_of(view: View, members: Mapping[str, str], roots: Collection[Any]) -> Group:
    """All rows under these roots."""
    wanted = [(root,) for root in roots]
    return Group(frozenset(roots), {name: view.rows(name, (column,), wanted) for name, column in members.items()}, {})


def _picker(
    sources: Sequence[str | None], columns: Sequence[str], constants: Sequence[Any]
) -> Callable[[Row], Row] | None:  # fmt: skip
    """A function that makes a row of `sources` (names in `columns`; None: the constant); None where it is the same."""
    if list(sources) == list(columns):
        return None
    fixed = tuple(constants)
    places = [len(columns) + index if source is None else columns.index(source) for index, source in enumerate(sources)]
    if len(places) == 1:
        only = places[0]
        return lambda row: ((*row, *fixed)[only],)
    pick = itemgetter(*places)
    return lambda row: pick(row + fixed)


def _settled(name: str, quiet: bool) -> None:
    if not quiet:
        raise StoreError(f"{name} changed meanwhile", hint="Bring it over, then compare it.", retryable=True)


def _key(shape: Shape, row: Row) -> Key:
    return tuple(row[shape.columns.index(column)] for column in shape.key)


def all_rows(view: View, table: str, shape: Shape) -> Iterator[Row]:
    """All rows of a table, page by page."""
    after: Key | None = None
    while True:
        rows = view.after(table, after, _PAGE)
        yield from rows
        if len(rows) < _PAGE:
            return
        after = _key(shape, rows[-1])
