"""The way back: what was written to green since the cut-over, as blue's older schema can hold it, the rest parked.

Shared columns are projected; traces get back the rows that the upgrade made columns of (`traces`), permissions their
old tables (`permissions`). Parked are rows of tables that blue lacks, columns that blue lacks where they hold another
value than the upgrade gave them, rows that blue refuses (too long, a CHECK), and what hangs on a parked row. Where blue
had an older version of a refused row, that one stays, so that nothing in blue hangs on nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from liftlock.online.backward import Backward, because, made
from liftlock.online.compare import differences, layout
from liftlock.online.delta import Deletion, Group, all_rows, changed_group
from liftlock.online.families import Family
from liftlock.online.parking import WAITING, Entry, Parking, parents_first
from liftlock.online.permissions import legacy_permissions
from liftlock.online.traces import Tagged, legacy_rows, said_otherwise
from liftlock.online.translation import RuleKind, Translation
from liftlock.stores.live import Key, Row, Shape, Straight, Target, View

_ANALYTICS = "75868b020152"
_PERMISSIONS = "e5f6a7b8c9d0"
# Tables with one value column of their own, by the family's id and a key: (columns of the key, column of the value).
_TAGGED = {
    "trace_tags": (("request_id", "key"), "value"),
    "trace_request_metadata": (("request_id", "key"), "value"),
    "trace_metrics": (("request_id", "key"), "value"),
    "span_metrics": (("trace_id", "span_id", "key"), "value"),
    "spans": (("trace_id", "span_id"), "dimension_attributes"),
}


@dataclass(frozen=True)
class Back:
    """What one view of green said: changed keys by table, their rows (but of families), groups, or all rows."""

    keys: Mapping[str, frozenset[Key]] = field(default_factory=dict)
    rows: Mapping[str, Sequence[Row]] = field(default_factory=dict)
    cleared: frozenset[str] = frozenset()
    groups: Mapping[str, Group] = field(default_factory=dict)
    whole: Mapping[str, Sequence[Row]] | None = None


@dataclass
class Return:
    """What blue should hold, and what is parked whatever blue says.

    `rows` are of blue, each with the row of green (its table and key) it came from: a row that is refused is parked by
    it. `touched` are green's keys whose old entries in the parking no longer count. `applied` is filled by `apply`:
    the rows that blue holds now.
    """

    clear: tuple[str, ...] = ()
    deletions: tuple[Deletion, ...] = ()
    rows: dict[str, list[tuple[Row, Entry]]] = field(default_factory=dict)
    parked: list[Entry] = field(default_factory=list)
    touched: dict[str, set[Key]] = field(default_factory=dict)
    traces: Group | None = None
    sequences: dict[str, int] = field(default_factory=dict)
    applied: dict[str, list[Row]] = field(default_factory=dict)


class Reverse:
    """Green's changes for blue. Rules of a `Flow` from green to blue; `parking` is written by `apply`.

    `apply` parks before its transaction is committed: if that is lost, the same keys come again and are parked anew.
    """

    def __init__(
        self, translation: Translation, blue: Mapping[str, Shape], green: Mapping[str, Shape], parking: Parking
    ) -> None:
        self.translation = translation
        self.parking = parking
        self._blue, self._green = blue, green
        self._families = {family.name: family for family in translation.families}
        columns = {name: shape.columns for name, shape in blue.items()}
        self._backs = {
            rule.table: Backward(
                rule,
                blue[rule.source] if rule.source else None,
                green[rule.table],
                rewritten=translation.rewrites.get(rule.table, ()),
                otherwise=said_otherwise(rule.table, columns),
            )
            for rule in translation.rules.values()
        }
        self._of_blue = {back.source: back for back in self._backs.values() if back.source is not None}
        self._order = parents_first(blue)
        self._layouts = {name: layout(shape.columns, shape.key) for name, shape in blue.items()}

    def prepare(self) -> None:
        """Nothing: no row goes through migrations on the way back."""

    def straight(self) -> tuple[Straight, ...]:
        """None: any row may have to be parked, and with it what hangs on it."""
        return ()

    def read(self, view: View, *, everything: bool = False) -> Back:
        """All that green's changed keys need, read in that view. `everything` is for databases translated whole."""
        if self.translation.whole:
            if not (everything or view.changed or view.whole):
                return Back()
            return Back(whole={name: list(all_rows(view, name, shape)) for name, shape in self._green.items()})
        keys, rows = {}, {}
        for name, shape in self._green.items():
            if self.translation.rules[name].kind is RuleKind.GROUP:
                keys[name] = view.changed.get(name, frozenset[Key]())
                continue
            if name in view.whole:
                keys[name], rows[name] = frozenset[Key](), list(all_rows(view, name, shape))
            elif changed := view.changed.get(name):
                keys[name], rows[name] = changed, view.rows(name, shape.key, changed)
        groups = {
            name: group for name, family in self._families.items()
            if (group := changed_group(view, family, self._green)) is not None
        }  # fmt: skip
        return Back(keys, rows, view.whole & rows.keys(), groups)

    def expected(self, delta: Back) -> Return:
        """What blue should hold, as far as can be said without asking it. Pure."""
        found = Return()
        if delta.whole is not None:
            self._whole(found, delta.whole)
            return found
        deletions: list[Deletion] = []
        clear: list[str] = []
        for name, rows in delta.rows.items():
            back = self._backs[name]
            found.touched[name] = {*delta.keys[name], *map(back.key_of, rows)}
            if name in delta.cleared:
                found.touched[name].update(entry.key for entry in self.parking.entries(name))
            if back.source is None:
                found.parked += [back.entry(row, "the old release has no such table") for row in rows]
                continue
            if name in delta.cleared:
                clear.append(back.source)
            else:
                values = [key for each in delta.keys[name] if (key := back.key(each)) is not None]
                deletions.append(Deletion(back.source, self._blue[back.source].key, values))
            self._project(found, back, rows)
        for name, group in delta.groups.items():
            self._group(found, deletions, clear, self._families[name], group, delta.keys)
        found.deletions, found.clear = tuple(deletions), tuple(clear)
        return found

    def _project(self, found: Return, back: Backward, rows: Iterable[Row]) -> None:
        assert back.source is not None
        for row in rows:
            if reason := back.foreign(row):
                found.parked.append(back.entry(row, reason))
                continue
            found.rows.setdefault(back.source, []).append((back.row(row), back.entry(row, "")))
            if surplus := back.surplus(row):
                found.parked.append(surplus)

    def _group(
        self, found: Return, deletions: list[Deletion], clear: list[str], family: Family, group: Group,
        changed: Mapping[str, frozenset[Key]],
    ) -> None:  # fmt: skip
        for name, column in family.within(self._green).items():
            back = self._backs[name]
            rows = group.rows.get(name, ())
            strays = group.strays.get(name, frozenset())
            # A row that is gone is known by its key alone: what was parked of it must not come back.
            found.touched[name] = {*changed.get(name, ()), *map(back.key_of, rows)}
            if group.all:
                found.touched[name].update(entry.key for entry in self.parking.entries(name))
            if back.source is None:
                found.parked += [back.entry(row, "the old release has no such table") for row in rows]
                continue
            if group.all:
                clear.append(back.source)
            else:
                deletions.append(Deletion(back.source, (column,), [(root,) for root in group.roots]))
                if strays:
                    deletions.append(Deletion(back.source, self._blue[back.source].key, strays))
            self._project(found, back, rows)
        if family.name == "trace" and _ANALYTICS in self.translation.revisions:
            found.traces = group

    def _whole(self, found: Return, rows: Mapping[str, Sequence[Row]]) -> None:
        """The auth database: tables that both have are projected, grants become permissions of the old tables."""
        shared = {name: back for name, back in self._backs.items() if back.source is not None}
        found.clear = tuple(sorted(shared))
        for name, each in rows.items():
            back = self._backs[name]
            found.touched[name] = {*map(back.key_of, each), *(entry.key for entry in self.parking.entries(name))}
            if back.source is not None:
                self._project(found, back, each)
        if _PERMISSIONS not in self.translation.revisions:
            return
        named = {
            name: [dict(zip(self._green[name].columns, row, strict=True)) for row in each]
            for name, each in rows.items()
        }
        legacy = legacy_permissions(named, {name: shape.columns for name, shape in self._blue.items()})
        for name, wanted in legacy.rows.items():
            shape = self._blue[name]
            found.rows[name] = [
                (tuple(row.get(column, shape.defaults.get(column)) for column in shape.columns), made(shape, row))
                for row in wanted
            ]
            if wanted:
                found.sequences[f"public.{name}_id_seq"] = max(int(row["id"]) for row in wanted)
        for name, key, why in legacy.inexpressible:
            back = self._backs[name]
            if back.source is None:
                found.parked += [back.entry(row, why) for row in rows[name] if back.key_of(row) == key]

    # -- into blue --

    def apply(self, replacement: Return, target: Target) -> None:
        """Make blue hold what is expected and park what it cannot hold. Applying it again changes nothing."""
        if replacement.traces is not None:
            self._reconstruct(replacement, replacement.traces, target)
        old = self._old(replacement, target)
        for table in replacement.clear:
            target.clear(table)
        for deletion in replacement.deletions:
            target.delete(deletion.table, deletion.columns, deletion.values)
        entries = {(entry.table, entry.key): entry for entry in replacement.parked}
        replacement.applied = {}
        for table in self._order:
            if rows := replacement.rows.get(table):
                self._insert(replacement, table, rows, old.get(table, {}), entries, target)
        self.parking.replace(replacement.touched, entries.values())
        self._adopt(replacement, target)

    def _old(self, replacement: Return, target: Target) -> dict[str, dict[Key, Row]]:
        """What blue holds now of the rows that are about to be replaced."""
        found: dict[str, dict[Key, Row]] = {}
        for table, rows in replacement.rows.items():
            how = self._layouts[table]
            keys = [how.key_of(row) for row, _ in rows]
            found[table] = {how.key_of(row): row for row in target.rows(table, self._blue[table].key, keys)}
        return found

    def _insert(
        self, replacement: Return, table: str, rows: Sequence[tuple[Row, Entry]], old: Mapping[Key, Row],
        entries: dict[tuple[str, Key], Entry], target: Target,
    ) -> None:  # fmt: skip
        shape, how = self._blue[table], self._layouts[table]
        homeless = self._homeless(table, [row for row, _ in rows], entries, target)
        fits = [(row, entry) for row, entry in rows if how.key_of(row) not in homeless]
        refused = {how.key_of(row): why for row, why in target.refused(table, shape.columns, [row for row, _ in fits])}
        held = [row for row, _ in fits if how.key_of(row) not in refused]
        for row, entry in rows:
            key = how.key_of(row)
            why = homeless.get(key) or refused.get(key)
            if why is None:
                continue
            entries[entry.table, entry.key] = because(entry, why)
            if key in refused and key in old and not target.refused(table, shape.columns, [old[key]]):
                held.append(old[key])
        replacement.applied[table] = held

    def _homeless(
        self, table: str, rows: Sequence[Row], entries: Mapping[tuple[str, Key], Entry], target: Target
    ) -> dict[Key, str]:  # fmt: skip
        """Rows whose parent is parked whole, now or from before, and has no older version here."""
        shape, how = self._blue[table], self._layouts[table]
        found: dict[Key, str] = {}
        for columns, parent, referred in shape.references:
            back = self._of_blue.get(parent)
            if back is None or set(referred) != set(self._blue[parent].key):
                continue
            places = [shape.columns.index(columns[referred.index(column)]) for column in self._blue[parent].key]
            wanted = {how.key_of(row): tuple(row[place] for place in places) for row in rows}
            wanted = {key: up for key, up in wanted.items() if None not in up}
            there = set(map(self._layouts[parent].key_of, target.rows(parent, self._blue[parent].key, wanted.values())))
            missing = {up: back.green_key(up) for up in wanted.values() if up not in there}
            gone = {key for (name, key), entry in entries.items() if name == back.table and entry.kind == "row"}
            gone |= self.parking.parked(back.table, set(missing.values()) - gone)
            why = f"{WAITING} a row of {parent} that is parked"
            found.update({key: why for key, up in wanted.items() if up in missing and missing[up] in gone})
        return found

    def _adopt(self, replacement: Return, target: Target) -> None:
        """Rows that were parked because of their parent come in once it is no longer parked."""
        waiting: dict[str, list[Entry]] = {}
        for each in self.parking.waiting():
            waiting.setdefault(each.table, []).append(each)
        for table in self._order:
            back = self._of_blue.get(table)
            if back is None or back.table not in waiting:
                continue
            rows = [(back.row(back.green_row(each)), each) for each in waiting[back.table]]
            homeless = self._homeless(table, [row for row, _ in rows], {}, target)
            free = [(row, each) for row, each in rows if self._layouts[table].key_of(row) not in homeless]
            if not free:
                continue
            shape, how = self._blue[table], self._layouts[table]
            refused = {how.key_of(row) for row, _ in target.refused(table, shape.columns, [row for row, _ in free])}
            home = [(row, each) for row, each in free if how.key_of(row) not in refused]
            self.parking.forget([each for _, each in home])
            replacement.applied.setdefault(table, []).extend(row for row, _ in home)

    def _reconstruct(self, replacement: Return, group: Group, target: Target) -> None:
        """Add the rows that the upgrade made columns of, kept to the letter where blue still has them."""
        old: dict[str, Tagged] = {}
        for table, (columns, value) in _TAGGED.items():
            old[table] = {}
            if table in self._blue and value in self._blue[table].columns:
                shape = self._blue[table]
                found = target.rows(table, columns[:1], [(root,) for root in group.roots])
                places = [shape.columns.index(column) for column in columns]
                old[table] = {tuple(row[place] for place in places): row[shape.columns.index(value)] for row in found}
        named = {
            name: [dict(zip(self._green[name].columns, row, strict=True)) for row in group.rows.get(name, ())]
            for name in ("trace_info", "spans")
        }
        legacy = legacy_rows(named["trace_info"], named["spans"], old)
        attributes = legacy.pop("spans")
        if "spans" in self._blue and "dimension_attributes" in self._blue["spans"].columns:
            shape = self._blue["spans"]
            place = shape.columns.index("dimension_attributes")
            where = [shape.columns.index(column) for column in _TAGGED["spans"][0]]
            replacement.rows["spans"] = [
                ((*row[:place], attributes.get(tuple(row[each] for each in where)), *row[place + 1 :]), entry)
                for row, entry in replacement.rows.get("spans", ())
            ]
        for table, values in legacy.items():
            if table not in self._blue:
                continue
            columns, value = _TAGGED[table]
            shape = self._blue[table]
            rows = {self._layouts[table].key_of(row): (row, entry) for row, entry in replacement.rows.get(table, ())}
            for key, each in values.items():
                content = {**dict(zip(columns, key, strict=True)), value: each}
                row = tuple(content.get(column) for column in shape.columns)
                # What green has under the same key was written by a person since: it counts.
                rows.setdefault(self._layouts[table].key_of(row), (row, made(shape, content)))
            replacement.rows[table] = list(rows.values())

    def differences(self, replacement: Return, target: Target) -> list[str]:
        """What blue holds otherwise than was just applied, a line each."""
        found: dict[str, dict[Key, Row]] = {}
        for deletion in replacement.deletions:
            how = self._layouts[deletion.table]
            rows = target.rows(deletion.table, deletion.columns, deletion.values)
            found.setdefault(deletion.table, {}).update((how.key_of(row), row) for row in rows)
        for table, rows in replacement.applied.items():
            how = self._layouts[table]
            keys = [how.key_of(row) for row in rows]
            there = target.rows(table, self._blue[table].key, keys)
            found.setdefault(table, {}).update((how.key_of(row), row) for row in there)
        wrong = []
        for table, held in found.items():
            wrong += differences(table, self._layouts[table], replacement.applied.get(table, ()), held.values())
        return [str(each) for each in wrong]
