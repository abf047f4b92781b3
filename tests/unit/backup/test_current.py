"""A set is taken for current only when nothing at all has changed since."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from liftlock.backup.create import Sources, create
from liftlock.backup.current import is_current, schemas
from liftlock.backup.verify import verify
from liftlock.model.deployment import Role
from liftlock.model.secret import Secret
from tests.support.backups import deployment


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return deployment(tmp_path)


def saved(sources: Sources, directory: Path) -> str:
    made = create(sources, directory)
    verify(directory, made.id, stores=sources.stores)
    return made.id


def sql(sources: Sources, statement: str) -> None:
    with closing(sqlite3.connect(sources.stores[Role.TRACKING].uri.path)) as connection, connection:
        connection.execute(statement)


def rewrite_alike(directory: Path) -> None:
    """The same size and time, other bytes: what a comparison by size and time alone would miss."""
    path = directory / "mlartifacts/1/model/weights 4.bin"
    path.write_bytes(b"\5" * 4000)
    os.utime(path)


def test_a_fresh_set_is_current(sources: Sources, tmp_path: Path) -> None:
    assert is_current(sources, tmp_path / "backups", saved(sources, tmp_path / "backups"))


def test_a_set_that_was_never_verified_is_not(sources: Sources, tmp_path: Path) -> None:
    made = create(sources, tmp_path / "backups")
    assert not is_current(sources, tmp_path / "backups", made.id)
    assert not is_current(sources, tmp_path / "backups", "no-such-set")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET name = 'other' WHERE rowid = 1",
        "DELETE FROM metrics WHERE rowid = 1",
        "ALTER TABLE runs ADD COLUMN extra TEXT",
        "UPDATE alembic_version SET version_num = 'other'",
        "CREATE TABLE strange (a)",
    ],
)
def test_a_change_of_one_row_or_column_is_seen(sources: Sources, tmp_path: Path, statement: str) -> None:
    made = saved(sources, tmp_path / "backups")
    sql(sources, statement)
    assert not is_current(sources, tmp_path / "backups", made)


@pytest.mark.parametrize(
    "change",
    [
        rewrite_alike,
        lambda directory: (directory / "mlartifacts/new.txt").write_text("new"),
        lambda directory: (directory / "mlartifacts/1/model/weights 4.bin").unlink(),
    ],
    ids=["rewritten", "added", "removed"],
)
def test_a_change_of_artifacts_is_seen(sources: Sources, tmp_path: Path, change: Callable[[Path], object]) -> None:
    made = saved(sources, tmp_path / "backups")
    change(tmp_path)
    assert not is_current(sources, tmp_path / "backups", made)


@pytest.mark.parametrize(
    "other",
    [
        {"config": "name = 'other'\n"},
        {"release": "2.9.3"},
        {"environment_lock": "mlflow==2.9.3\n"},
        {"environment_lock": None},
        {"passphrase": Secret("another passphrase")},
        {"passphrase": None},
        {"secret_names": ()},
        {"stores": {}},
        {"artifacts": {}},
    ],
    ids=lambda other: "-".join(other),
)
def test_other_settings_are_seen(sources: Sources, tmp_path: Path, other: dict[str, object]) -> None:
    made = saved(sources, tmp_path / "backups")
    fields = {name: getattr(sources, name) for name in sources.__dataclass_fields__}
    assert not is_current(Sources(**{**fields, **other}), tmp_path / "backups", made)


def test_an_index_changes_the_schema_and_no_row(sources: Sources, tmp_path: Path) -> None:
    made, before = saved(sources, tmp_path / "backups"), schemas(sources)
    sql(sources, "CREATE INDEX runs_name ON runs (name)")
    assert is_current(sources, tmp_path / "backups", made)
    assert schemas(sources) != before
