from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup import catalog
from liftlock.backup.create import Sources, create
from liftlock.backup.restore import Targets, restore
from liftlock.errors import BackupError
from liftlock.model.deployment import Role
from liftlock.model.snapshot import BackupSet
from tests.support.backups import ROOT_URI, deployment


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
        assert saved and not store.fingerprint().differences(saved.fingerprint)
        assert done.rows[role] == saved.fingerprint.rows
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
    from tests.support.backups import reopened

    new = tmp_path / "new-machine"
    new.mkdir()
    targets = reopened(new)
    restore(tmp_path / "backups", made.id, Targets(targets.stores, targets.artifacts))
    saved = made.store(Role.TRACKING)
    assert saved and not targets.stores[Role.TRACKING].fingerprint().differences(saved.fingerprint)
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
