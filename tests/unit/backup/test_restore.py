from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup import catalog
from liftlock.backup.create import Sources, create
from liftlock.backup.restore import Targets, restore
from liftlock.backup.verify import verify
from liftlock.errors import BackupError
from liftlock.model.deployment import Role
from liftlock.model.finding import blocking
from liftlock.model.snapshot import BackupSet
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql import PostgresqlStore
from liftlock.stores.postgresql_connect import parameters
from tests.support.backups import ROOT_URI, deployment, reopened
from tests.support.postgres import Harness as PostgresHarness
from tests.support.snapshots import held


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return deployment(tmp_path)


@pytest.fixture
def made(sources: Sources, tmp_path: Path) -> BackupSet:
    return create(sources, tmp_path / "backups")


def _spoil(directory: Path) -> None:
    with closing(sqlite3.connect(directory / "mlflow.db")) as connection, connection:
        connection.execute("DELETE FROM metrics")
        connection.execute("CREATE TABLE later (x)")
    (directory / "mlartifacts/1/model/weights 4.bin").unlink()
    (directory / "mlartifacts/2/model/weights 5.bin").write_bytes(b"overwritten")
    (directory / "mlartifacts/later").write_bytes(b"made later")


def test_everything_comes_back(sources: Sources, made: BackupSet, tmp_path: Path) -> None:
    _spoil(tmp_path)
    done = restore(tmp_path / "backups", made.id, Targets(sources.stores, sources.artifacts))
    for role, store in sources.stores.items():
        saved = made.store(role)
        assert saved
        expected = held(store, saved, tmp_path / "backups" / made.id / saved.directory)
        assert not store.fingerprint().differences(expected)
        assert done.rows[role] == expected.rows
    assert (tmp_path / "mlartifacts/1/model/weights 4.bin").read_bytes() == b"\4" * 4000
    assert (tmp_path / "mlartifacts/later").exists()
    assert done.artifact_bytes == {ROOT_URI: 9000}
    assert done.not_restored == ()
    again = restore(tmp_path / "backups", made.id, Targets(sources.stores, sources.artifacts))
    assert again.artifact_bytes == {ROOT_URI: 0}


def test_only_what_is_named_is_touched_and_the_rest_is_said(sources: Sources, made: BackupSet, tmp_path: Path) -> None:
    _spoil(tmp_path)
    before = (tmp_path / "mlflow.db").read_bytes()
    done = restore(tmp_path / "backups", made.id, Targets(stores={Role.AUTH: sources.stores[Role.AUTH]}))
    assert done.not_restored == (f"artifacts of {ROOT_URI}", "the tracking database")
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_new_machine_gets_everything(made: BackupSet, tmp_path: Path) -> None:
    new = tmp_path / "new-machine"
    new.mkdir()
    targets = reopened(new)
    restore(tmp_path / "backups", made.id, Targets(targets.stores, targets.artifacts))
    saved = made.store(Role.TRACKING)
    assert saved
    store = targets.stores[Role.TRACKING]
    expected = held(store, saved, tmp_path / "backups" / made.id / saved.directory)
    assert not store.fingerprint().differences(expected)
    assert len(list((new / "mlartifacts").rglob("*.bin"))) == 12


@pytest.mark.parametrize("damaged", ["databases/tracking/database.sqlite", "artifacts/0/1/model/weights 4.bin"])
def test_a_damaged_set_is_refused_before_anything_is_touched(
    sources: Sources, made: BackupSet, tmp_path: Path, damaged: str
) -> None:
    _spoil(tmp_path)
    path = tmp_path / "backups" / made.id / damaged
    path.write_bytes(path.read_bytes()[:-1])
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(BackupError, match=r"damaged, nothing was restored: .*bytes instead of"):
        restore(tmp_path / "backups", made.id, Targets(sources.stores, sources.artifacts))
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_targets_the_set_does_not_know_are_refused(sources: Sources, made: BackupSet, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="holds no registry database"):
        restore(tmp_path / "backups", made.id, Targets({Role.REGISTRY: sources.stores[Role.TRACKING]}))
    with pytest.raises(BackupError, match="holds no artifact root s3://x"):
        restore(tmp_path / "backups", made.id, Targets(artifacts={"s3://x": LocalArtifacts(tmp_path)}))


def test_one_part_can_be_opened(sources: Sources, made: BackupSet, tmp_path: Path) -> None:
    saved = made.store(Role.TRACKING)
    assert saved
    names = catalog.opened(tmp_path / "backups", made, saved, lambda place: [path.name for path in place.iterdir()])
    assert names == ["database.sqlite"]


def test_postgresql_comes_back_too_with_liftlock_and_by_hand(sources: Sources, tmp_path: Path) -> None:
    harness = PostgresHarness(tmp_path / "pg")
    harness.start()
    try:
        store = harness.new_store(Role.TRACKING, "mlflow")
        mixed = replace(sources, stores={**sources.stores, Role.TRACKING: store})
        made = create(mixed, tmp_path / "backups", encrypt_to=None)
        assert not blocking(verify(tmp_path / "backups", made.id, stores=mixed.stores))
        harness.execute(store, "DELETE FROM metrics")
        restore(tmp_path / "backups", made.id, Targets(mixed.stores, mixed.artifacts))
        saved = made.store(Role.TRACKING)
        assert saved and saved.fingerprint and not store.fingerprint().differences(saved.fingerprint)
        if saved.method == "pg-dump-directory":
            uri = harness.server.create_database("by_hand")
            home = tmp_path / "backups" / made.id
            given = parameters(uri)
            tool = tools.find_tools(int(saved.engine_version.split(".")[0]))
            assert tool
            place = str(home / saved.directory)
            words = ["--exit-on-error", "--no-owner", "--jobs", "2", "--dbname", tools.target(given), place]
            command = [str(tool.path("pg_restore")), *words]
            done = subprocess.run(command, env=tools.environment(given), capture_output=True)
            assert done.returncode == 0, done.stderr
            assert not PostgresqlStore(uri, Role.TRACKING).fingerprint().differences(saved.fingerprint)
    finally:
        harness.stop()
