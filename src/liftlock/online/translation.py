"""How blue's rows look in green, table by table: decided once per upgrade, from knowledge and the two schemas alone."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from liftlock.knowledge.revisions import Fill, Revision, RevisionKind, chain_name, jump
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.online.families import FAMILIES, Family
from liftlock.stores.live import Shape

# A database that is migrated whole again at each change must be small: rows, all tables together.
WHOLE_ROWS = 50_000
# What tells that basic-auth keeps its tables in the tracking database.
_AUTH_TABLES = frozenset({"users", "experiment_permissions", "registered_model_permissions"})


class RuleKind(enum.StrEnum):
    """PROJECTED: row by row. GROUP: with its family through the migrations. WHOLE: with the whole database through the
    migrations. NEW: not in blue, left to green.
    """

    PROJECTED = "projected"
    GROUP = "group"
    WHOLE = "whole"
    NEW = "new"


class Rule(Value, frozen=True):
    """One table of green.

    PROJECTED: `source` is blue's table, `columns` maps green's columns to blue's, `constants` holds the others.
    GROUP: `family` names it; `source`, `columns` and `constants` say what is still the same and what a new column gets
    that is not computed, for the way back. WHOLE: as GROUP. `key` is green's primary key.
    """

    table: str
    kind: RuleKind
    key: tuple[str, ...]
    source: str | None = None
    columns: dict[str, str] = msgspec.field(default_factory=dict)
    constants: dict[str, Any] = msgspec.field(default_factory=dict)
    family: str | None = None


class Translation(Value, frozen=True):
    """The rules of one database for one jump. With `refusals` (a reason each) it must not be used.

    `rewrites` are columns that the migrations change in rows that were there (a job's status). `clocks` and `sums` are
    green's columns that two migrations of equal rows may fill differently: with the time, and
    with a sum of floats in another order (the last digits).
    """

    role: Role
    revisions: tuple[str, ...]
    rules: dict[str, Rule]
    families: tuple[Family, ...] = ()
    rewrites: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    clocks: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    sums: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    refusals: tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the whole database goes through the migrations at each change."""
        return any(rule.kind is RuleKind.WHOLE for rule in self.rules.values())

    @property
    def needs_scratch(self) -> bool:
        """Whether some change of blue has to go through the migrations."""
        return self.whole or bool(self.families)

    def of_kind(self, kind: RuleKind) -> tuple[Rule, ...]:
        """The rules of one kind, by table."""
        return tuple(rule for _, rule in sorted(self.rules.items()) if rule.kind is kind)


def translation(
    role: Role, revisions: Sequence[str], blue: Mapping[str, Shape], green: Mapping[str, Shape],
    *, rows: Mapping[str, int] | None = None,
) -> Translation:  # fmt: skip
    """Decide. `revisions` are those between blue's and green's, oldest first; `rows` counts blue's, where known.

    Never raises: what is in the way is in `refusals`, in words for a person.
    """
    steps = jump(role, revisions)
    globals_ = [step for step in steps if step.kind is RevisionKind.GLOBAL]
    if role is Role.AUTH and globals_ and all(step.recorded is not None and step.annotation for step in globals_):
        return _whole(role, steps, blue, green, rows or {})
    refusals = [f"revision {step.id} of the {chain_name(role)} chain: {step.why}" for step in globals_]
    if role is not Role.AUTH and set(blue) >= _AUTH_TABLES:
        refusals.append("basic-auth keeps its tables in the tracking database; give it a database of its own")
    families = _families(steps, blue)
    of_family = {table: family for family in families for table in family.within(green)}
    rules: dict[str, Rule] = {}
    for name, shape in green.items():
        if name in of_family:
            rules[name] = _grouped(of_family[name], blue.get(name), shape, steps)
        elif name in blue:
            rule, wrong = _projected(blue[name], shape, steps)
            rules[name] = rule
            refusals += wrong
        else:
            rules[name] = Rule(table=name, kind=RuleKind.NEW, key=shape.key)
    refusals += [
        f"table {name} is not in the new schema, and nobody knows what became of it"
        for name in blue.keys() - green.keys()
    ]
    refusals += [f"table {name} has no primary key" for name in sorted(rules) if not green[name].key and name in blue]
    refusals += _outside(steps, blue, of_family)
    return Translation(
        role=role, revisions=tuple(revisions), rules=rules, families=families, rewrites=_gather(steps, "rewrites"),
        clocks=_gather(steps, "clocks"), sums=_gather(steps, "sums"), refusals=tuple(refusals),
    )  # fmt: skip


def _whole(
    role: Role,
    steps: Sequence[Revision],
    blue: Mapping[str, Shape],
    green: Mapping[str, Shape],
    rows: Mapping[str, int],
) -> Translation:
    count = sum(rows.values())
    refusals = (f"the {role.value} database has {count} rows, too many to migrate again at each change",)
    return Translation(
        role=role, revisions=tuple(step.id for step in steps),
        rules={
            name: Rule(
                table=name, kind=RuleKind.WHOLE, key=shape.key, source=name if name in blue else None,
                columns=_projected(blue[name], shape, steps)[0].columns if name in blue else {},
            )
            for name, shape in green.items()
        },
        refusals=refusals if count > WHOLE_ROWS else (),
    )  # fmt: skip


def _families(steps: Sequence[Revision], blue: Mapping[str, Shape]) -> tuple[Family, ...]:
    """The families that some revision computes in and that blue has rows of."""
    names = dict.fromkeys(name for step in steps if step.annotation for name in step.annotation.families)
    return tuple(FAMILIES[name] for name in names if FAMILIES[name].root in blue)


def _gather(steps: Sequence[Revision], field: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for step in steps:
        for table, columns in (getattr(step.annotation, field) if step.annotation else {}).items():
            found[table] = (*found.get(table, ()), *columns)
    return found


def _outside(steps: Sequence[Revision], blue: Mapping[str, Shape], of_family: Mapping[str, Family]) -> list[str]:
    """Tables of blue whose rows a revision of these changes, computes or drops outside of any family."""
    found = []
    for step in steps:
        if step.recorded is None or step.kind is RevisionKind.GLOBAL:
            continue
        touched = {*step.recorded.changed, *step.recorded.writes, *step.recorded.dropped}
        found += [
            f"revision {step.id} changes rows of {table}, which belongs to no family that was explained"
            for table in sorted(touched & blue.keys() - of_family.keys())
        ]
    return found


def _grouped(family: Family, blue: Shape | None, green: Shape, steps: Sequence[Revision]) -> Rule:
    rule = _projected(blue, green, steps)[0] if blue is not None else None
    return Rule(
        table=green.name, kind=RuleKind.GROUP, key=green.key, family=family.name, source=rule.source if rule else None,
        columns=rule.columns if rule else {}, constants=rule.constants if rule else {},
    )  # fmt: skip


def _projected(blue: Shape, green: Shape, steps: Sequence[Revision]) -> tuple[Rule, list[str]]:
    """The rule of a table that is projected, and what is in the way."""
    now = {column: column for column in blue.columns}  # as it is called by now -> as blue calls it
    fills: dict[str, Fill] = {}
    for step in steps:
        if step.recorded is None:
            continue
        for old, new in step.recorded.renamed.get(blue.name, {}).items():
            if old in now:
                now[new] = now.pop(old)
            if old in fills:
                fills[new] = fills.pop(old)
        for column in step.recorded.removed.get(blue.name, ()):
            now.pop(column, None)
            fills.pop(column, None)
        fills.update(step.recorded.added.get(blue.name, {}))
    wrong = [
        f"nobody knows what old rows of {green.name} get in column {column}"
        for column in green.columns
        if column not in now and fills.get(column, Fill.COMPUTED) is Fill.COMPUTED
    ]
    wrong += [
        f"nobody knows what became of column {column} of {green.name}"
        for column in sorted(now.keys() - set(green.columns))
    ]
    constants = {}
    for column in green.columns:
        if column not in now:
            constants[column] = green.defaults.get(column) if fills.get(column) is Fill.DEFAULT else None
            if fills.get(column) is Fill.DEFAULT and constants[column] is None:
                wrong.append(f"column {column} of {green.name} has lost the default that old rows got")
    return (
        Rule(
            table=green.name, kind=RuleKind.PROJECTED, key=green.key, source=blue.name,
            columns={column: now[column] for column in green.columns if column in now}, constants=constants,
        ),
        wrong,
    )  # fmt: skip
