"""Verify green against blue while people write: stretch by stretch, every row and every column, at one state of blue.

    for name in rules.parts():                      # tables, then families
        with blue.look() as view:
            part = rules.part(view, name, after, limit)
        expected = rules.expected(part.delta)
        with green.look() as view:
            wrong = rules.compare(expected, rules.current(view, part.delta), part.delta)

What blue's log names has not been brought over and is left out; it is compared when it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from liftlock.errors import StoreError
from liftlock.online.compare import Difference, differences, layout
from liftlock.online.delta import Delta, Group, Part, Replacement, all_rows, changed_roots, group_of, key_of
from liftlock.online.families import Family
from liftlock.online.projection import Projection
from liftlock.online.translation import WHOLE_ROWS, RuleKind, Translation
from liftlock.stores.live import Key, Row, Shape, View

_ROOTS = 1000
EVERYTHING = "everything"
"""The one part of a database that is translated whole."""


class Aligned:
    """A translation between two schemas, as far as looking goes. `translation` must have no refusals."""

    def __init__(self, translation: Translation, blue: Mapping[str, Shape], green: Mapping[str, Shape]) -> None:
        assert not translation.refusals, translation.refusals
        self.translation = translation
        self._blue, self._green = blue, green
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
        last = key_of(shape, rows[-1]) if more else None
        unsettled = {name: view.changed.get(name, frozenset[Key]())}
        return Part(Delta(rows={name: rows}, ranges={name: (after, last)}, unsettled=unsettled), last)

    def least(self, name: str) -> int:
        """Roots of a family that one comparison should have: the way through the migrations has a price of its own."""
        return _ROOTS if name in self._families else 1

    def joined(self, stretches: Sequence[Part]) -> Part:
        """Parts of one family that follow each other, read while green stood still, as one.

        A row of the family that changed between two views is in the later one's log, so no later part has it; a row
        outside of the family is taken as it was last.
        """
        if len(stretches) == 1:
            return stretches[0]
        deltas = [part.delta for part in stretches]
        (name,) = deltas[0].groups
        groups = [delta.groups[name] for delta in deltas]
        context: dict[str, dict[Key, Row]] = {}
        for table, rows in ((table, rows) for delta in deltas for table, rows in delta.context.items()):
            context.setdefault(table, {}).update((key_of(self._blue[table], row), row) for row in rows)
        root = self._families[name].root
        tables = {table for delta in deltas for table in delta.unsettled}
        return Part(
            Delta(
                groups={
                    name: Group(
                        frozenset().union(*(group.roots for group in groups)),
                        {table: [row for group in groups for row in group.rows[table]] for table in groups[0].rows},
                        {},
                    )
                },
                context={table: list(rows.values()) for table, rows in context.items()},
                ranges={root: (deltas[0].ranges[root][0], deltas[-1].ranges[root][1])},
                unsettled={
                    table: frozenset().union(*(delta.unsettled.get(table, ()) for delta in deltas)) for table in tables
                },
            ),
            stretches[-1].last,
        )

    def _family_part(self, view: View, family: Family, after: Key | None, limit: int) -> Part:
        members = family.within(self._blue)
        _settled(family.name, not members.keys() & view.whole)
        shape = self._blue[family.root]
        tops = view.after(family.root, after, limit)
        last = key_of(shape, tops[-1]) if len(tops) >= limit else None
        place = shape.columns.index(members[family.root])
        busy, _ = changed_roots(view, family, self._blue)
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
        lines = [str(Difference(table, key_of(shape, row), "unexpected")) for row in rows if row[place] not in roots]
        if len(rows) >= limit:
            return lines, (table, key_of(shape, rows[-1]))
        rest = members[members.index(table) + 1 :]
        return lines, (rest[0], None) if rest else None

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


def _settled(name: str, quiet: bool) -> None:
    if not quiet:
        raise StoreError(f"{name} changed meanwhile", hint="Bring it over, then compare it.", retryable=True)
