from __future__ import annotations

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from liftlock import clock
from liftlock.artifacts.interface import ArtifactFile, Skip
from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup import catalog
from liftlock.backup.create import Sources, create
from liftlock.backup.prune import prune
from liftlock.backup.verify import verify
from liftlock.errors import BackupError, StoreError
from liftlock.model.deployment import Role
from liftlock.model.finding import blocking
from liftlock.model.progress import Observer, silent
from liftlock.model.secret import Secret
from tests.support.backups import CANARY_PASSPHRASE, CANARY_PASSWORD, CREATE, ROOT_URI, deployment, only_artifacts

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return deployment(tmp_path)


def test_a_set_describes_itself_and_ordinary_tools_read_it(sources: Sources, tmp_path: Path) -> None:
    made = create(sources, tmp_path / "backups", tags=("pre-upgrade-x",))
    home = tmp_path / "backups" / made.id
    assert catalog.find(tmp_path / "backups", made.id) == made == catalog.find(tmp_path / "backups", "pre-upgrade-x")
    assert json.loads((home / "manifest.json").read_text())["release"] == "2.9.2"
    assert subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=home).returncode == 0
    listed = {line.split("  ", 1)[1] for line in (home / "SHA256SUMS").read_text().splitlines()}
    present = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    assert present - listed == {"manifest.json", "SHA256SUMS"}
    with closing(sqlite3.connect(home / "databases/tracking/database.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM runs").fetchone() == (6,)
    assert "databases/tracking/database.sqlite" in (home / "README.txt").read_text()
    assert (home / "artifacts/0/1/model/weights 4.bin").read_bytes() == b"\4" * 4000
    assert (home / "environment/lock.txt").read_text().startswith("mlflow==2.9.2\n")
    assert (home / "configuration/secrets.txt").read_text() == "MLFLOW_CRYPTO_KEK_PASSPHRASE\n"
    assert made.verified_at is None


def test_awkward_names_are_in_the_sums_as_sha256sum_reads_them(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for name in ("new\nline", "back\\slash", "ü", " lead", "a.age", "carriage\rreturn"):
        (root / name).write_text(name)
    made = create(Sources(stores={}, release="2.9.2", artifacts={"x": LocalArtifacts(root)}), tmp_path / "b")
    assert made.artifacts[0].files == 6
    check = ["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=tmp_path / "b" / made.id).returncode == 0


def test_everything_is_for_its_owner_alone(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "mlartifacts").chmod(0o777)
    for path in (tmp_path / "mlartifacts").rglob("*"):
        path.chmod(0o777)
    old = os.umask(0)
    try:
        create(sources, tmp_path / "backups")
    finally:
        os.umask(old)
    for path in [tmp_path / "backups", *(tmp_path / "backups").rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_no_secret_is_in_any_byte_of_a_set(sources: Sources, tmp_path: Path) -> None:
    made = create(sources, tmp_path / "backups")
    for path in (tmp_path / "backups").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert CANARY_PASSPHRASE.encode() not in data, path
            assert CANARY_PASSWORD.encode() not in data, path
            assert hashlib.sha256(CANARY_PASSPHRASE.encode()).hexdigest().encode() not in data, path
    assert "postgresql://mlflow:***@host" in (
        (tmp_path / "backups" / made.id / "configuration/liftlock.toml").read_text()
    )  # fmt: skip


def test_the_passphrase_can_be_checked_but_not_read(sources: Sources, tmp_path: Path) -> None:
    made = create(only_artifacts(sources), tmp_path / "backups")
    assert catalog.passphrase_matches(made, Secret(CANARY_PASSPHRASE)) is True
    assert catalog.passphrase_matches(made, Secret("another")) is False
    assert catalog.passphrase_matches(made, None) is False
    again = create(only_artifacts(sources), tmp_path / "backups")
    assert again.passphrase_check != made.passphrase_check  # salted
    without = create(Sources(stores={}, release="2.9.2"), tmp_path / "backups")
    assert catalog.passphrase_matches(without, Secret("any")) is None


def test_an_incremental_set_shares_files_with_its_base_and_survives_it(sources: Sources, tmp_path: Path) -> None:
    backups, root = tmp_path / "backups", tmp_path / "mlartifacts"
    first = create(sources, backups)
    unverified = create(sources, backups)
    assert unverified.base is None
    with pytest.raises(BackupError, match="never verified"):
        create(sources, backups, base=first.id)
    assert not blocking(verify(backups, first.id, stores=sources.stores))
    (root / "0/model/weights 3.bin").write_bytes(b"new content")
    (root / "0/model/weights 6.bin").unlink()
    (root / "0/added").write_bytes(b"added")
    second = create(sources, backups)
    assert second.base == first.id
    assert (second.artifacts[0].files, second.artifacts[0].linked_files) == (12, 10)
    assert second.bytes < first.bytes
    shared = "artifacts/0/1/model/weights 4.bin"
    assert (backups / first.id / shared).samefile(backups / second.id / shared)
    prune(backups, keep_last=1, keep_days=None, now=clock.now())
    catalog.set_keep(backups, second.id, keep=True)
    assert not blocking(verify(backups, second.id, stores=sources.stores))
    prune(backups, keep_last=0, keep_days=None, now=clock.now())
    assert [one.id for one in catalog.list_sets(backups).sets] == [second.id]
    assert not blocking(verify(backups, second.id, stores=sources.stores))
    assert create(sources, backups, base=None).artifacts[0].linked_files == 0


def test_an_in_place_change_with_the_old_time_right_after_the_base_is_seen(sources: Sources, tmp_path: Path) -> None:
    backups = tmp_path / "backups"
    first = create(only_artifacts(sources), backups)
    catalog.set_verified(backups, first, clock.now())
    path = tmp_path / "mlartifacts/1/model/weights 4.bin"
    stat = path.stat()
    path.write_bytes(b"!" * stat.st_size)
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    second = create(only_artifacts(sources), backups)
    assert (backups / second.id / "artifacts/0/1/model/weights 4.bin").read_bytes() == b"!" * stat.st_size


class _Restless(LocalArtifacts):
    """A root whose server works while the backup runs: one file vanishes, one grows once, one never rests."""

    def copy(
        self,
        files: object,
        target: Path,
        *,
        on_skip: Skip | None = None,
        observer: Observer = silent,
    ) -> int:
        listed = [file for file in files if isinstance(file, ArtifactFile)]  # type: ignore[attr-defined]  # any iterable
        (self.root / "0/model/weights 3.bin").unlink(missing_ok=True)
        (self.root / "never").write_bytes(os.urandom(20))
        once = self.root / "1/model/weights 4.bin"
        if once.stat().st_size == 4000:
            once.write_bytes(b"grown" * 1000)
        return super().copy(listed, target, on_skip=on_skip, observer=observer)


def test_files_that_move_while_they_are_read_are_retried_then_reported(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "mlartifacts/never").write_bytes(b"x")
    restless = Sources(stores={}, release="2.9.2", artifacts={ROOT_URI: _Restless(tmp_path / "mlartifacts")})
    made = create(restless, tmp_path / "backups")
    assert {entry.path for entry in made.artifacts[0].left_out} == {"0/model/weights 3.bin", "never"}
    home = tmp_path / "backups" / made.id
    assert (home / "artifacts/0/1/model/weights 4.bin").read_bytes() == b"grown" * 1000
    assert not blocking(verify(tmp_path / "backups", made.id, stores={}))


def test_a_store_that_fails_leaves_nothing(sources: Sources, tmp_path: Path) -> None:
    kept = create(sources, tmp_path / "backups")
    (tmp_path / "auth.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        create(sources, tmp_path / "backups")
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [kept.id]


def test_a_store_whose_files_are_not_what_it_says_is_refused(sources: Sources, tmp_path: Path) -> None:
    class Liar:
        def snapshot(self, directory: Path, *, observer: Observer = silent) -> object:
            made = sources.stores[Role.TRACKING].snapshot(directory, observer=observer)
            (directory / "unlisted").write_text("x")
            return made

    with pytest.raises(BackupError, match="unlisted"):
        create(Sources(stores={Role.TRACKING: Liar()}, release="2.9.2"), tmp_path / "backups")  # type: ignore[dict-item]  # a stand-in for faults
    assert not list((tmp_path / "backups").iterdir())


def test_a_directory_that_cannot_be_written_is_one_clear_line(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BackupError, match="no backup can be written in"):
        create(sources, tmp_path / "file" / "backups")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        with pytest.raises(BackupError, match="Permission denied"):
            create(sources, tmp_path / "locked" / "backups")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a small file system needs the right to mount: {mounted.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("filler", ["artifacts", "database"])
def test_a_full_disk_keeps_the_old_sets_and_lists_nothing_new(
    sources: Sources, tmp_path: Path, small_disk: Path, filler: str
) -> None:
    backups = small_disk / "backups"
    kept = create(sources, backups)
    if filler == "artifacts":
        (tmp_path / "mlartifacts/big").write_bytes(os.urandom(1_000_000))
    else:
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as connection, connection:
            connection.execute("INSERT INTO blobs VALUES ('big', randomblob(1000000))")
    with pytest.raises(BackupError, match="no space left"):
        create(sources, backups)
    assert [path.name for path in backups.iterdir()] == [kept.id]
    found = verify(backups, kept.id, stores=sources.stores)
    assert not blocking(found)


def test_a_backup_killed_at_any_effect_is_never_listed_and_is_cleaned_up(sources: Sources, tmp_path: Path) -> None:
    log = tmp_path / "effects"
    run = [sys.executable, "-c", CREATE, str(tmp_path)]
    quiet = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    subprocess.run([*run, str(tmp_path / "whole")], env={**quiet, "LIFTLOCK_EFFECTS_LOG": str(log)}, check=True)
    names = list(dict.fromkeys(log.read_text().splitlines()))
    assert {"snapshot tracking", "copy artifacts 0", "write backup manifest", "publish backup"} <= set(names)
    points = [f"{when}:{name}" for name in names for when in ("before", "after")]
    for point in points:
        backups = tmp_path / point.replace(":", "-").replace(" ", "-")
        killed = subprocess.run([*run, str(backups)], env={**quiet, "LIFTLOCK_CRASH_AT": point}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, (point, killed.stderr)
        listed = catalog.list_sets(backups)
        if point == "after:publish backup":
            assert len(listed.sets) == 1
            assert not blocking(verify(backups, "latest", stores=sources.stores))
            continue
        assert listed.sets == () == listed.damaged, point
        for partial in listed.unfinished:
            with pytest.raises(BackupError):
                catalog.find(backups, partial.name.removesuffix(".partial"))
        prune(backups, keep_last=1, keep_days=None, now=clock.now())
        assert catalog.list_sets(backups).unfinished == listed.unfinished, "a set may be in the making"
        prune(backups, keep_last=1, keep_days=None, now=clock.now() + timedelta(days=2))
        assert not backups.exists() or not list(backups.iterdir()), point
    print(f"killed at {len(points)} points")
