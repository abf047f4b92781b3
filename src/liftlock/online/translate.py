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

from collections.abc import Collection, Iterator, Mapping, Sequence

from liftlock.errors import StoreError
from liftlock.online.aligned import Aligned
from liftlock.online.compare import Difference, Layout, differences
from liftlock.online.delta import Deletion, Delta, Replacement, all_rows, changed_group
from liftlock.online.scratch import Scratch
from liftlock.online.translation import RuleKind, Translation
from liftlock.stores.live import Key, Row, Shape, Straight, Target, View


class Translator(Aligned):
    """Applies a translation. Without `scratch` it can do everything but what `Translation.needs_scratch` is about.

    `translation` must have no refusals. Not for several threads at once.
    """

    def __init__(
        self, translation: Translation, blue: Mapping[str, Shape], green: Mapping[str, Shape], scratch: Scratch | None
    ) -> None:
        super().__init__(translation, blue, green)
        self._scratch = scratch

    def prepare(self) -> None:
        """Do ahead what the next `expected` would have to do first: call it before people are held. Idempotent."""
        if self._scratch is not None and self.translation.needs_scratch:
            self._scratch.prepare()

    def straight(self) -> tuple[Straight, ...]:
        """The tables whose rows need no look of ours."""
        return tuple(
            Straight(
                source=name, table=rule.table, key=self._blue[name].key, columns=rule.columns, constants=rule.constants
            )
            for rule in self.translation.of_kind(RuleKind.PROJECTED)
            if (name := rule.source) is not None and self._projections[name].exact
        )  # fmt: skip

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
