"""Random histories on a small database: states brought over equal a plain migration of everything, and what is seeded
into the translation (or into its verification) is caught.
"""

from __future__ import annotations

import dataclasses
import random
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftlock.errors import LiftlockError
from liftlock.online import aligned, compare, delta, projection, translate, translation
from liftlock.online.families import FAMILIES, Family
from liftlock.stores.live import Row, Target
from tests.support.mini import mini_upgrade, wrong_after

EPOCHS = st.lists(st.tuples(st.integers(0, 25), st.one_of(st.none(), st.integers(1, 30))), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9), epochs=EPOCHS)
def test_it_commutes(seed: int, epochs: list[tuple[int, int | None]]) -> None:
    assert run(seed, epochs) == []


@pytest.mark.soak
@settings(max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9), epochs=EPOCHS)
def test_it_commutes_for_long(seed: int, epochs: list[tuple[int, int | None]]) -> None:
    assert run(seed, epochs) == []


def run(seed: int, epochs: Sequence[tuple[int, int | None]]) -> list[str]:
    with pytest.MonkeyPatch.context() as patch, mini_upgrade(patch, random.Random(seed)) as (upgrade, people):
        try:
            return wrong_after(upgrade, people, epochs)
        except LiftlockError as error:
            # One side of a swap of unique values: everything in one batch must do, as `Flow` does it.
            if "UNIQUE" not in error.message or all(limit is None for _, limit in epochs):
                raise
            return wrong_after(upgrade, people, [(0, None)])


# -- seeded bugs --


def _aggregate_not_closed(patch: pytest.MonkeyPatch) -> None:
    """Only the changed rows of a family go through the migration, not all that hang on their root."""
    whole = delta.group_of

    def narrow(view: Any, members: Mapping[str, str], roots: Any) -> delta.Group:
        group = whole(view, members, roots)
        kept = {
            name: rows if name == "trace_info" or name not in view.changed else
            view.rows(name, view.shapes[name].key, view.changed[name]) for name, rows in group.rows.items()
        }  # fmt: skip
        return dataclasses.replace(group, rows={**kept, "trace_tags": kept["trace_tags"][:1]})

    patch.setattr(delta, "group_of", narrow)


def _root_of_a_member_ignored(patch: pytest.MonkeyPatch) -> None:
    family = FAMILIES["trace"]
    members = {name: column for name, column in family.members.items() if name != "trace_tags"}
    patch.setattr(translation, "FAMILIES", {"trace": Family(name="trace", root="trace_info", members=members)})


def _context_missing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(translate.Translator, "_context", lambda self, view, groups: {})


def _constant_wrong(patch: pytest.MonkeyPatch) -> None:
    _rule(patch, "experiments", constants={"workspace": "defualt"})


def _constant_of_a_key_wrong(patch: pytest.MonkeyPatch) -> None:
    _rule(patch, "registered_models", constants={"workspace": None})


def _rename_lost(patch: pytest.MonkeyPatch) -> None:
    _rule(patch, "calls", columns={"id": "id"}, constants={"job_name": None, "detail": None})


def _columns_swapped(patch: pytest.MonkeyPatch) -> None:
    _rule(patch, "registered_models", columns={"name": "name", "note": "name"})


def _null_dropped(patch: pytest.MonkeyPatch) -> None:
    """What is NULL is not written: the older value stays, as in a `compact` of a replayed row."""
    rows = projection.Projection.rows
    patch.setattr(
        projection.Projection, "rows",
        lambda self, found: [tuple("" if value is None else value for value in row) for row in rows(self, found)],
    )  # fmt: skip


def _gone_rows_stay(patch: pytest.MonkeyPatch) -> None:
    """Only keys that still have a row are deleted: deleted rows and the old keys of moved ones stay."""
    read = translate.Translator.read

    def seen(self: translate.Translator, view: Any, **options: bool) -> delta.Delta:
        found = read(self, view, **options)
        keys = {
            name: keys & {tuple(row[view.shapes[name].columns.index(each)] for each in view.shapes[name].key)
                          for row in found.rows[name]}
            for name, keys in found.keys.items()
        }  # fmt: skip
        return dataclasses.replace(found, keys=keys)

    patch.setattr(translate.Translator, "read", seen)


def _empty_groups_stay(patch: pytest.MonkeyPatch) -> None:
    expected = translate.Translator.expected

    def only_filled(self: translate.Translator, change: delta.Delta) -> delta.Replacement:
        found = expected(self, change)
        kept = tuple(
            each
            for each in found.deletions
            if each.table not in FAMILIES["trace"].members or found.rows.get(each.table)
        )
        return dataclasses.replace(found, deletions=kept)

    patch.setattr(translate.Translator, "expected", only_filled)


def _strays_forgotten(patch: pytest.MonkeyPatch) -> None:
    changed = delta.changed_group

    def without(*arguments: Any) -> delta.Group | None:
        group = changed(*arguments)
        return group and dataclasses.replace(group, strays={})

    patch.setattr(translate, "changed_group", without)


def _old_key_missing(patch: pytest.MonkeyPatch) -> None:
    """The log says only the new key of a row whose key changed."""
    read = translate.Translator.read

    class Narrow:
        def __init__(self, view: Any) -> None:
            self._view = view
            self.changed = {
                name: frozenset(
                    tuple(row[view.shapes[name].columns.index(each)] for each in view.shapes[name].key)
                    for row in view.rows(name, view.shapes[name].key, keys)
                )
                for name, keys in view.changed.items()
            }

        def __getattr__(self, name: str) -> Any:
            return getattr(self._view, name)

    def narrow(self: translate.Translator, view: Any, **options: bool) -> delta.Delta:
        seen: Any = Narrow(view)
        return read(self, seen, **options)

    patch.setattr(translate.Translator, "read", narrow)


def _only_inserted(patch: pytest.MonkeyPatch) -> None:
    """Rows that are there already are left as they are."""

    def apply(self: translate.Translator, replacement: delta.Replacement, target: Target) -> None:
        for table, rows in replacement.rows.items():
            shape = self._green[table]
            target.refused(table, shape.columns, list(rows))

    patch.setattr(translate.Translator, "apply", apply)
    patch.setattr(translate.Translator, "differences", lambda self, replacement, target: [])


def _stale_scratch(patch: pytest.MonkeyPatch) -> None:
    """The scratch gives what it gave the first time for a root."""
    from liftlock.online.scratch import Migrated, SqliteScratch

    migrate, known = SqliteScratch.migrate, dict[Any, Row]()

    def cached(self: SqliteScratch, rows: Any, tables: Any) -> Migrated:
        found = migrate(self, rows, tables)
        return Migrated(
            {name: [known.setdefault((name, row[0]), row) for row in each] for name, each in found.rows.items()}
        )

    patch.setattr(SqliteScratch, "migrate", cached)


def _rule(patch: pytest.MonkeyPatch, table: str, **fields: Any) -> None:
    right = translate.Translator.__init__

    def wrong(self: Any, plan: translation.Translation, *rest: Any) -> None:
        import msgspec

        rules = {**plan.rules, table: msgspec.structs.replace(plan.rules[table], **fields)}
        right(self, msgspec.structs.replace(plan, rules=rules), *rest)

    patch.setattr(translate.Translator, "__init__", wrong)


BUGS = [
    _aggregate_not_closed, _root_of_a_member_ignored, _context_missing, _constant_wrong, _constant_of_a_key_wrong,
    _rename_lost, _columns_swapped, _null_dropped, _gone_rows_stay, _empty_groups_stay, _strays_forgotten,
    _old_key_missing, _only_inserted, _stale_scratch,
]  # fmt: skip


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_caught(bug: Callable[[pytest.MonkeyPatch], None]) -> None:
    for seed in range(30):
        with pytest.MonkeyPatch.context() as patch:
            bug(patch)
            try:
                if run(seed, [(25, None), (25, None)]):
                    return
            except (LiftlockError, AssertionError, sqlite3.Error):
                return
    pytest.fail("nobody noticed")


# -- verification --


def _corrupt(path: Any, table: str, pick: random.Random) -> bool:
    """One cell, one row too few or one too many; whether there was anything to corrupt."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        names = [row[1] for row in file.execute(f"PRAGMA table_info({table})")]
        rows = file.execute(f"SELECT rowid, * FROM {table} ORDER BY rowid").fetchall()
        if not rows:
            return False
        pick.shuffle(rows)
        kind = pick.choice(["cell", "less", "more"])
        if kind == "less":
            file.execute(f"DELETE FROM {table} WHERE rowid = ?", (rows[0][0],))
            return True
        if kind == "more":
            values = [
                ("zz" if isinstance(value, str) else 10**6 if isinstance(value, int) else value)
                for value in rows[0][1:]
            ]
            file.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
            return True
        column = pick.choice([name for name in names if name != "migrated_at"])
        old = rows[0][1 + names.index(column)]
        new = {float: 7.5, int: 77, str: f"{old}!", type(None): "not null"}[type(old)]
        file.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, rows[0][0]))
        return True


TABLES = (
    "experiments",
    "metrics",
    "registered_models",
    "model_versions",
    "calls",
    "trace_info",
    "trace_tags",
    "assessments",
)


def _seen(seed: int, limit: int) -> tuple[int, int]:
    """How many corruptions were made in one database, one after the other, and how many verification saw."""
    made = seen = 0
    with pytest.MonkeyPatch.context() as patch, mini_upgrade(patch, random.Random(seed), 150) as (upgrade, people):
        people.write(20)
        upgrade.epoch()
        assert upgrade.verify(limit) == []
        sound = upgrade.green.store.uri.path.read_bytes()
        pick = random.Random(seed)
        for table in TABLES:
            if _corrupt(upgrade.green.store.uri.path, table, pick):
                made += 1
                seen += bool(upgrade.verify(limit))
            upgrade.green.store.uri.path.write_bytes(sound)
    return made, seen


def test_every_corruption_is_seen_and_nothing_else() -> None:
    results = [_seen(seed, limit) for seed, limit in ((1, 3), (2, 50), (3, 1), (4, 4))]
    assert sum(made for made, _ in results) >= 20
    assert all(made == seen for made, seen in results)


def test_what_changed_since_is_not_called_a_difference() -> None:
    with pytest.MonkeyPatch.context() as patch, mini_upgrade(patch, random.Random(5), 150) as (upgrade, people):
        upgrade.epoch()
        people.write(60)
        assert upgrade.blue.backlog() > 20
        assert upgrade.verify(4) == []


def _counts_only(patch: pytest.MonkeyPatch) -> None:
    def blind(table: str, how: Any, expected: Any, found: Any) -> list[compare.Difference]:
        same = len(list(expected)) == len(list(found))
        return [] if same else [compare.Difference(table, (), "different")]

    patch.setattr(aligned, "differences", blind)


def _exclusive_or(patch: pytest.MonkeyPatch) -> None:
    """Pairs of equal rows cancel, on whichever side they are."""

    def blind(table: str, how: Any, expected: Any, found: Any) -> list[compare.Difference]:
        total = 0
        for row in (*expected, *found):
            total ^= hash(row[:1])
        return [] if total == 0 else [compare.Difference(table, (), "different")]

    patch.setattr(aligned, "differences", blind)


def _everything_is_a_clock(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(compare, "_differs", lambda *arguments: False)


def _ends_are_closed(patch: pytest.MonkeyPatch) -> None:
    """The last stretch ends at the last key of blue, so that rows behind it are never looked at."""
    part = translate.Translator.part

    def closed(self: Any, view: Any, name: str, after: Any, limit: int) -> delta.Part:
        found = part(self, view, name, after, limit)
        ranges = {
            table: (low, high or tuple(found.delta.rows[table][-1][self._blue[table].columns.index(each)]
                                       for each in self._blue[table].key))
            for table, (low, high) in found.delta.ranges.items() if found.delta.rows.get(table)
        }  # fmt: skip
        return dataclasses.replace(
            found, delta=dataclasses.replace(found.delta, ranges={**found.delta.ranges, **ranges})
        )

    patch.setattr(translate.Translator, "part", closed)


def _only_found_rows_count(patch: pytest.MonkeyPatch) -> None:
    right = compare.differences
    patch.setattr(
        aligned, "differences", lambda *arguments: [each for each in right(*arguments) if each.what == "different"]
    )


def _nothing_hangs_on_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(translate.Translator, "unrooted", lambda self, view, family, after, limit: ([], None))


BLIND = [
    _counts_only, _exclusive_or, _everything_is_a_clock, _ends_are_closed, _only_found_rows_count,
    _nothing_hangs_on_nothing,
]  # fmt: skip


@pytest.mark.parametrize("bug", BLIND)
def test_blind_verification_is_caught(bug: Callable[[pytest.MonkeyPatch], None]) -> None:
    for seed in range(1, 30):
        with pytest.MonkeyPatch.context() as patch:
            bug(patch)
            try:
                made, seen = _seen(seed, 5)
            except AssertionError:
                return
            if seen < made:
                return
    pytest.fail("nobody noticed")
