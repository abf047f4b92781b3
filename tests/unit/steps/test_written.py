"""Writes of clients: what counts as one, and that nothing of theirs is thrown away."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from liftlock.engine.interface import Context
from liftlock.errors import NeedsPerson
from liftlock.model.codec import to_builtins
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint, TableFingerprint
from liftlock.steps.site import Site
from liftlock.steps.written import changed_since, refuse_to_lose
from tests.support.sqlite import make_database


def of(**rows: int) -> Fingerprint:
    return Fingerprint(
        algorithm="x",
        tables=tuple(
            TableFingerprint(table=name, rows=count, sum1=str(count), sum2="0", columns=("a",))
            for name, count in rows.items()
        ),
    )


def test_housekeeping_and_sequences_are_no_writes() -> None:
    before = of(runs=1, jobs=1, sqlite_sequence=1, scheduler_leases=0)
    assert changed_since(before, of(runs=1, jobs=5, sqlite_sequence=9, scheduler_leases=3)) == ()
    assert changed_since(before, of(runs=2, jobs=1, sqlite_sequence=1, scheduler_leases=0)) == ("runs",)
    assert changed_since(before, of(jobs=1, sqlite_sequence=1, scheduler_leases=0)) == ("runs",)
    assert changed_since(of(runs=1), of(runs=1, new=1)) == ("new",)


@pytest.mark.parametrize("live", [True, False])
def test_writes_since_the_migration_stop_the_way_back(tmp_path: Path, live: bool) -> None:
    path = tmp_path / "a.db"
    store = make_database(path)
    site = cast(
        Site,
        SimpleNamespace(config_path=tmp_path / "liftlock.toml" if live else None, store=lambda _: store),
    )
    outcomes: dict[str, dict[str, Any]] = {"verify-data": {"after": {"tracking": to_builtins(store.fingerprint())}}}
    refuse_to_lose(site, Context("r", outcomes), (Role.TRACKING,))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("UPDATE experiments SET name = name || ' written'")
    if live:
        with pytest.raises(NeedsPerson, match=r"tracking\.experiments") as caught:
            refuse_to_lose(site, Context("r", outcomes), (Role.TRACKING,))
        assert "liftlock rollback" in caught.value.hint
    else:
        refuse_to_lose(site, Context("r", outcomes), (Role.TRACKING,))
    refuse_to_lose(site, Context("r", {}), (Role.TRACKING,))  # before it was measured nobody but the migration wrote
