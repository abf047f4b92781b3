from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from liftlock import clock
from liftlock.backup import catalog
from liftlock.backup.create import Sources, create
from liftlock.backup.integrity import damages
from liftlock.backup.layout import read_manifest, write_manifest
from liftlock.backup.verify import verify
from liftlock.errors import BackupError
from liftlock.model.deployment import Role
from liftlock.model.finding import Outcome, blocking
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import BackupSet, StoreSnapshot
from liftlock.stores.sqlite import SqliteStore
from tests.support.backups import deployment

Damage = Callable[[random.Random, Path], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Sources, BackupSet]:
    directory = tmp_path_factory.mktemp("verify")
    sources = deployment(directory)
    return directory / "backups", sources, create(sources, directory / "backups", tags=("t",))


def test_a_good_set_is_restored_compared_and_marked(made: tuple[Path, Sources, BackupSet], tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    shutil.copytree(made[0], backups)
    before = clock.now()
    found = verify(backups, "t", stores=made[1].stores)
    assert [finding.outcome for finding in found] == [Outcome.PASS] * 4
    assert [finding.code for finding in found][2:] == ["backup-restore-tracking", "backup-restore-auth"]
    marked = catalog.find(backups, "t")
    assert marked.verified_at and marked.verified_at >= before
    for role, store in made[1].stores.items():
        assert not catalog.fingerprint_of(marked, role).differences(store.fingerprint())
    assert {path.name for path in made[0].parent.iterdir()} == {"mlflow.db", "auth.db", "mlartifacts", "backups"}


def test_without_a_place_to_restore_it_is_unknown_and_unmarked(made: tuple[Path, Sources, BackupSet]) -> None:
    backups, sources, manifest = made
    found = verify(backups, manifest.id, stores={Role.AUTH: sources.stores[Role.AUTH]})
    assert [finding.outcome for finding in found] == [Outcome.PASS, Outcome.PASS, Outcome.UNKNOWN, Outcome.PASS]
    assert blocking(found)
    assert catalog.find(backups, manifest.id).verified_at is None


def test_a_set_that_does_not_equal_its_source_fails(made: tuple[Path, Sources, BackupSet], tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    shutil.copytree(made[0], backups)
    verify(backups, "t", stores=made[1].stores)
    manifest = catalog.find(backups, "t")
    prints = catalog.fingerprint_of(manifest, Role.TRACKING)
    wrong = msgspec.structs.replace(prints.tables[0], sum1=str(int(prints.tables[0].sum1) ^ 1))
    prints = msgspec.structs.replace(prints, tables=(wrong, *prints.tables[1:]))
    stores = (msgspec.structs.replace(manifest.stores[0], fingerprint=prints), *manifest.stores[1:])
    write_manifest(backups / manifest.id, msgspec.structs.replace(manifest, stores=stores, verified_at=None))
    found = {finding.code: finding for finding in verify(backups, manifest.id, stores=made[1].stores)}
    assert found["backup-restore-tracking"].outcome is Outcome.FAIL
    assert wrong.table in found["backup-restore-tracking"].message
    assert catalog.find(backups, manifest.id).verified_at is None


def test_a_restored_file_that_is_not_the_saved_one_fails(
    made: tuple[Path, Sources, BackupSet], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first verification has no fingerprint to compare with: the file's own digest stands for it."""
    backups = tmp_path / "backups"
    shutil.copytree(made[0], backups)
    restore = SqliteStore.restore

    def spoiled(self: SqliteStore, snapshot: StoreSnapshot, directory: Path, *, observer: Observer = silent) -> None:
        restore(self, snapshot, directory, observer=observer)
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute("PRAGMA user_version = 7")

    monkeypatch.setattr(SqliteStore, "restore", spoiled)
    found = {finding.code: finding for finding in verify(backups, "t", stores=made[1].stores)}
    assert "is not the file that was saved" in found["backup-restore-tracking"].message
    assert catalog.find(backups, "t").verified_at is None


def test_a_saved_database_that_was_damaged_already_fails(tmp_path: Path) -> None:
    sources = deployment(tmp_path)
    raw = bytearray((tmp_path / "mlflow.db").read_bytes())
    raw[-4096:-4080] = b"\xff" * 16
    (tmp_path / "mlflow.db").write_bytes(raw)
    made = create(sources, tmp_path / "backups")
    found = {finding.code: finding for finding in verify(tmp_path / "backups", made.id, stores=sources.stores)}
    assert "damaged" in found["backup-restore-tracking"].message
    assert catalog.find(tmp_path / "backups", made.id).verified_at is None


def test_nothing_is_compared_with_a_set_that_was_never_verified(made: tuple[Path, Sources, BackupSet]) -> None:
    backups, _, manifest = made
    assert all(snapshot.fingerprint is None for snapshot in manifest.stores)
    with pytest.raises(BackupError, match="never verified"):
        catalog.fingerprint_of(manifest, Role.TRACKING)
    with pytest.raises(BackupError, match="no registry database"):
        catalog.fingerprint_of(manifest, Role.REGISTRY)
    with pytest.raises(BackupError, match="no fingerprint"):
        catalog.set_verified(backups, manifest, clock.now())
    assert catalog.find(backups, manifest.id).verified_at is None


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file())


def _flip(rng: random.Random, home: Path) -> None:
    path = rng.choice([path for path in _files(home) if path.stat().st_size])
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= rng.randint(1, 255)
    path.write_bytes(data)


def _truncate(rng: random.Random, home: Path) -> None:
    path = rng.choice([path for path in _files(home) if path.stat().st_size])
    with path.open("r+b") as file:
        file.truncate(rng.randrange(path.stat().st_size))


def _delete(rng: random.Random, home: Path) -> None:
    rng.choice(_files(home)).unlink()


def _add(rng: random.Random, home: Path) -> None:
    place = rng.choice([home, *(path for path in home.rglob("*") if path.is_dir())])
    (place / f"added-{rng.randrange(1000)}").write_bytes(b"" if rng.random() < 0.5 else b"x")


def _swap(rng: random.Random, home: Path) -> None:
    one, two = rng.sample([path for path in _files(home) if path.name.startswith("weights")], 2)
    content = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(content)


def _edit_manifest(rng: random.Random, home: Path) -> None:
    path = home / "manifest.json"
    lines = path.read_text().splitlines(keepends=True)
    number = rng.randrange(len(lines))
    edits: tuple[list[str], ...] = (
        [],
        [lines[number], lines[number]],
        [" " + lines[number]],
        [lines[number].replace("1", "2") + " "],
    )
    lines[number : number + 1] = rng.choice(edits)
    path.write_text("".join(lines))


def _link(rng: random.Random, home: Path) -> None:
    path = rng.choice([path for path in _files(home) if path.name != "manifest.json"])
    copy = home.parent / "elsewhere"
    copy.write_bytes(path.read_bytes())
    path.unlink()
    path.symlink_to(copy)


def _found(home: Path) -> bool:
    try:
        return bool(damages(home, read_manifest(home)))
    except BackupError:
        return True


@pytest.mark.parametrize("damage", [_flip, _truncate, _delete, _add, _swap, _edit_manifest, _link])
def test_every_random_damage_is_found(
    made: tuple[Path, Sources, BackupSet], tmp_path: Path, damage: Damage
) -> None:  # fmt: skip
    original = made[0] / made[2].id
    assert not _found(original)
    rng = random.Random(damage.__name__)
    for case in range(60):
        home = tmp_path / str(case) / made[2].id
        shutil.copytree(original, home)
        damage(rng, home)
        assert _found(home), f"{damage.__name__} case {case}"
        shutil.rmtree(home.parent)


@pytest.mark.parametrize("damage", [_flip, _truncate, _delete, _add])
def test_the_whole_verification_says_so_and_takes_no_mark(
    made: tuple[Path, Sources, BackupSet], tmp_path: Path, damage: Damage
) -> None:
    rng = random.Random(3)
    for case in range(4):
        backups = tmp_path / str(case)
        shutil.copytree(made[0], backups)
        damage(rng, backups / made[2].id)
        try:
            found = verify(backups, made[2].id, stores=made[1].stores)
        except BackupError as error:
            assert "not a finished backup" in error.message  # the manifest itself was deleted
            continue
        assert blocking(found)
        assert not any(one.verified_at for one in catalog.list_sets(backups).sets)


def test_a_damaged_manifest_is_shown_as_damaged_not_as_a_set(
    made: tuple[Path, Sources, BackupSet], tmp_path: Path
) -> None:
    backups = tmp_path / "backups"
    shutil.copytree(made[0], backups)
    path = backups / made[2].id / "manifest.json"
    path.write_text(path.read_text().replace('"keep": false', '"keep": true '))
    listed = catalog.list_sets(backups)
    assert listed.sets == ()
    assert listed.damaged[0][0].name == made[2].id
    (finding,) = verify(backups, made[2].id, stores={})
    assert (finding.code, finding.outcome) == ("backup-manifest", Outcome.FAIL)
    with pytest.raises(BackupError, match="there is no backup"):
        catalog.find(backups, "t")
    older = msgspec.structs.replace(made[2], id="20200101T000000Z")
    (backups / older.id).mkdir()
    write_manifest(backups / older.id, older)
    with pytest.raises(BackupError, match="the latest backup is damaged"):
        catalog.find(backups, "latest")
    assert catalog.find(backups, "t").id == older.id


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 5000, b'{"digest": 1}'])
def test_nonsense_is_no_manifest(made: tuple[Path, Sources, BackupSet], tmp_path: Path, content: bytes) -> None:
    home = tmp_path / made[2].id
    home.mkdir()
    (home / "manifest.json").write_bytes(content)
    with pytest.raises(BackupError, match="changed or damaged"):
        read_manifest(home)


def test_a_renamed_set_and_a_newer_format_are_refused(made: tuple[Path, Sources, BackupSet], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    write_manifest(tmp_path / "other", made[2])
    with pytest.raises(BackupError, match="holds the backup"):
        read_manifest(tmp_path / "other")
    home = tmp_path / made[2].id
    home.mkdir()
    write_manifest(home, msgspec.structs.replace(made[2], format=99))
    with pytest.raises(BackupError, match="format 99"):
        read_manifest(home)


def test_unknown_names_are_one_clear_line(made: tuple[Path, Sources, BackupSet], tmp_path: Path) -> None:
    for name in ("nope", "../backups", "", ".", "/etc"):
        with pytest.raises(BackupError):
            catalog.find(made[0], name)
    with pytest.raises(BackupError, match="there is no backup in"):
        catalog.find(tmp_path / "missing", "latest")
