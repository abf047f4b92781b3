"""Compare a database before and after a migration, table by table, knowing what each revision may change."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from liftlock.errors import StoreError
from liftlock.knowledge import schema
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding, Outcome
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, silent
from liftlock.stores.interface import Store


def comparable_columns(before: Fingerprint, chain: Role, revisions: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The columns of each table that still mean the same after these revisions; Alembic's own tables left out."""
    gone = schema.dropped_columns(chain, tuple(revisions))
    return {
        table: tuple(column for column in columns if column not in gone.get(table, ()))
        for table, columns in before.columns().items()
        if table not in schema.VERSION_TABLES and not table.startswith("_alembic_tmp_")
    }


def compare(
    before: Fingerprint,
    after: Fingerprint,
    changing: Mapping[str, str],
    *,
    role: Role,
    growing: Collection[str] = (),
) -> tuple[Finding, ...]:
    """One finding per table. `changing` maps tables that a revision may change to the reason. Pure.

    Equal rows and sums pass. A table that may change passes with the reason, unless it grew and is not among
    `growing`, the few to which a revision adds rows. Everything else that differs fails.
    """
    findings = []
    for old in before.tables:
        new = after.table(old.table)
        code, title = "LLV010", f"{role.value}: table {old.table}"
        detail: dict[str, str | int | float | bool | None] = {"rows before": old.rows}
        if new is None:
            findings.append(_fail(code, title, "the table is gone", detail))
            continue
        detail["rows after"] = new.rows
        if new == old:
            findings.append(
                Finding(code=code, title=title, outcome=Outcome.PASS, message=f"{old.rows} rows equal", detail=detail)
            )
        elif new.columns != old.columns:
            findings.append(_fail(code, title, "other columns were compared", detail))
        elif old.table in changing and (new.rows <= old.rows or old.table in growing):
            message = f"{old.rows} rows before, {new.rows} after, as expected: {changing[old.table]}"
            findings.append(Finding(code=code, title=title, outcome=Outcome.PASS, message=message, detail=detail))
        else:
            findings.append(_fail(code, title, f"{old.rows} rows before, {new.rows} after: contents differ", detail))
    return tuple(findings)


@dataclass(frozen=True)
class Verified:
    """Findings, and the migrated database's own fingerprint over everything (None when it could not be read)."""

    findings: tuple[Finding, ...]
    after: Fingerprint | None


def verify_migrated(
    store: Store,
    before: Fingerprint,
    revisions: Iterable[str],
    *,
    head: str | None,
    known_problems: frozenset[str] = frozenset(),
    observer: Observer = silent,
) -> Verified:
    """Read the migrated database and compare it with `before` (taken over `comparable_columns`).

    `known_problems` are integrity problems the database had before: only new ones count against the migration.
    """
    steps = tuple(revisions)
    found = [_at_head(store, head), _integrity(store, known_problems)]
    try:
        shared = store.fingerprint(columns=before.columns(), observer=observer)
        after = _whole(store, shared, observer)
    except StoreError as error:
        unknown = Finding(
            code="LLV010",
            title=f"{store.role.value}: all tables",
            outcome=Outcome.UNKNOWN,
            message=f"the tables could not be compared: {error}",
        )
        return Verified(findings=(*found, unknown), after=None)
    changing = schema.changed_tables(store.role, steps)
    growing = schema.growing_tables(store.role, steps)
    compared = compare(before, shared, changing, role=store.role, growing=growing)
    return Verified(findings=(*found, *compared), after=after)


def _whole(store: Store, shared: Fingerprint, observer: Observer) -> Fingerprint:
    """The fingerprint over all tables and columns, hashing again only what `shared` did not cover."""
    columns = store.columns()
    covered = {table.table: table for table in shared.tables if columns.get(table.table) == table.columns}
    rest = {table: names for table, names in columns.items() if table not in covered}
    more = store.fingerprint(columns=rest, observer=observer) if rest else Fingerprint(algorithm="", tables=())
    tables = sorted((*covered.values(), *more.tables), key=lambda each: each.table)
    return Fingerprint(algorithm=shared.algorithm, tables=tuple(tables))


def _at_head(store: Store, head: str | None) -> Finding:
    revision = store.revision()
    passed = revision == head
    return Finding(
        code="LLV001",
        title=f"{store.role.value}: schema revision",
        outcome=Outcome.PASS if passed else Outcome.FAIL,
        message=f"at {revision}" if passed else f"at {revision}, expected {head}",
    )


def _integrity(store: Store, known: frozenset[str]) -> Finding:
    problems = [problem for problem in store.check_integrity() if problem not in known]
    return Finding(
        code="LLV002",
        title=f"{store.role.value}: integrity",
        outcome=Outcome.FAIL if problems else Outcome.PASS,
        message="; ".join(problems[:3]) or "nothing new is broken",
    )


def _fail(code: str, title: str, message: str, detail: dict[str, str | int | float | bool | None]) -> Finding:
    return Finding(code=code, title=title, outcome=Outcome.FAIL, message=message, detail=detail)
