"""Comparison of a real SQLite database before and after somebody touched it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from liftlock.model.deployment import Role
from liftlock.model.finding import Finding, blocking
from liftlock.verify.data import comparable_columns, verify_migrated
from tests.support.sqlite import make_database


def findings(path: Path, change: str, *, revisions: tuple[str, ...] = ()) -> tuple[Finding, ...]:
    store = make_database(path)
    before = store.fingerprint(columns=comparable_columns(store.fingerprint(), Role.TRACKING, revisions))
    head = store.revision()
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.executescript(change)
    return blocking(verify_migrated(store, before, revisions, head=head).findings)


def test_untouched_passes(tmp_path: Path) -> None:
    assert findings(tmp_path / "a.db", "") == ()


def test_additions_pass(tmp_path: Path) -> None:
    assert (
        findings(tmp_path / "a.db", "ALTER TABLE runs ADD COLUMN extra TEXT DEFAULT 'x'; CREATE TABLE more (a)") == ()
    )


@pytest.mark.parametrize("seed", range(12))
def test_seeded_differences_are_all_found(tmp_path: Path, seed: int) -> None:
    """Another value, a lost row, a doubled row, in any table and column that has rows."""
    random = Random(seed)
    store = make_database(tmp_path / "probe.db")
    names = sorted(
        table.table for table in store.fingerprint().tables if table.rows and table.table != "alembic_version"
    )
    table = random.choice(names)
    column = random.choice(store.columns()[table])
    some = f"rowid = (SELECT rowid FROM {table} ORDER BY rowid LIMIT 1 OFFSET {random.randrange(2)} % 1)"
    change = random.choice(
        [
            f"UPDATE OR IGNORE {table} SET {column} = CASE WHEN {column} IS NULL THEN 1 ELSE {column} || 'x' END"
            f" WHERE {some}",
            f"DELETE FROM {table} WHERE {some}",
        ]
    )
    found = findings(tmp_path / "a.db", change)
    assert any(each.title.endswith(f"table {table}") for each in found), (change, found)


def test_wrong_head_and_lost_table_are_found(tmp_path: Path) -> None:
    found = findings(tmp_path / "a.db", "UPDATE alembic_version SET version_num = 'other'; DROP TABLE metrics")
    assert {"LLV001"} < {each.code for each in found} | {"LLV010"}
    assert any("metrics" in each.title or "could not be compared" in each.message for each in found)
