from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

import pytest

from liftlock.artifacts.interface import ArtifactFile
from liftlock.artifacts.local import LocalArtifacts
from liftlock.errors import ArtifactError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    for name, data in {"1/a.bin": b"a" * 3_000_000, "1/b/c": b"", "2/ü ❤.txt": b"text", "2/new\nline": b"x"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def test_inventory_lists_every_file_with_its_digest_sorted(root: Path) -> None:
    found = LocalArtifacts(root).inventory()
    assert [file.path for file in found] == sorted(["1/a.bin", "1/b/c", "2/ü ❤.txt", "2/new\nline"])
    for file in found:
        data = (root / file.path).read_bytes()
        assert (file.bytes, file.sha256) == (len(data), hashlib.sha256(data).hexdigest())


def test_unchanged_files_are_not_read_again_and_changed_ones_are(root: Path) -> None:
    store = LocalArtifacts(root)
    lies = [ArtifactFile(path=f.path, bytes=f.bytes, sha256="0" * 64, mtime_ns=f.mtime_ns) for f in store.inventory()]
    assert {file.sha256 for file in store.inventory(known=lies)} == {"0" * 64}
    (root / "2/ü ❤.txt").write_bytes(b"TEXT!")
    changed = {file.path: file.sha256 for file in store.inventory(known=lies)}
    assert changed.pop("2/ü ❤.txt") == hashlib.sha256(b"TEXT!").hexdigest()
    assert set(changed.values()) == {"0" * 64}


def test_links_are_followed_inside_the_root_only_and_oddities_are_reported(root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret of somebody else")
    (root / "inside").symlink_to(root / "1/a.bin")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "outdir").symlink_to(tmp_path)
    (root / "dir").symlink_to(root / "1")
    (root / "broken").symlink_to(root / "nothing")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "pipe")
    Path(os.fsdecode(os.fsencode(root) + b"/\xff")).write_bytes(b"x")
    skips: dict[str, str] = {}
    found = {file.path: file.bytes for file in LocalArtifacts(root).inventory(on_skip=skips.__setitem__)}
    assert found["inside"] == 3_000_000
    assert len(found) == 5
    assert {"out", "outdir", "dir", "broken", "loop", "pipe"} < skips.keys()
    assert "out of the artifact root" in skips["out"]
    assert "out of the artifact root" in skips["outdir"]
    assert skips["pipe"] == "not a regular file"
    assert len(skips) == 7


def test_without_a_listener_an_oddity_is_an_error(root: Path) -> None:
    os.mkfifo(root / "pipe")
    with pytest.raises(ArtifactError, match="pipe: not a regular file"):
        LocalArtifacts(root).inventory()


def test_a_missing_root_is_reported_or_refused(tmp_path: Path) -> None:
    skips: dict[str, str] = {}
    assert LocalArtifacts(tmp_path / "no").inventory(on_skip=skips.__setitem__) == ()
    assert "not a directory" in skips["."]
    with pytest.raises(ArtifactError, match="not a directory"):
        LocalArtifacts(tmp_path / "no").inventory()


def test_copy_is_complete_private_and_keeps_times(root: Path, tmp_path: Path) -> None:
    store = LocalArtifacts(root)
    files = store.inventory()
    written = store.copy(files, tmp_path / "copy")
    assert written in (0, sum(file.bytes for file in files))  # 0: the file system shares blocks
    assert LocalArtifacts(tmp_path / "copy").verify(files) == ()
    for file in files:
        stat = (tmp_path / "copy" / file.path).stat()
        assert stat.st_mode & 0o777 == 0o600
        assert stat.st_mtime_ns == file.mtime_ns
        assert stat.st_nlink == 1


def test_a_copy_is_no_hard_link_of_the_live_file(root: Path, tmp_path: Path) -> None:
    store = LocalArtifacts(root)
    store.copy(store.inventory(), tmp_path / "copy")
    with (root / "1/a.bin").open("r+b") as file:
        file.write(b"overwritten in place")
    assert (tmp_path / "copy/1/a.bin").read_bytes()[:5] == b"aaaaa"


def test_copy_leaves_out_what_vanished_or_changed(root: Path, tmp_path: Path) -> None:
    store = LocalArtifacts(root)
    files = store.inventory()
    (root / "1/a.bin").unlink()
    times = (root / "2/ü ❤.txt").stat()
    (root / "2/ü ❤.txt").write_bytes(b"TEXT")  # same size and, below, same time: only the digest tells
    os.utime(root / "2/ü ❤.txt", ns=(times.st_mtime_ns, times.st_mtime_ns))
    (root / "1/b/c").write_bytes(b"longer")
    skips: dict[str, str] = {}
    store.copy(files, tmp_path / "copy", on_skip=skips.__setitem__)
    assert skips["1/a.bin"] == "vanished while it was read"
    assert skips["1/b/c"] == "changed while it was read"
    assert {path.name for path in (tmp_path / "copy").rglob("*") if path.is_file()} <= {"new\nline", "ü ❤.txt"}
    with pytest.raises(ArtifactError, match="vanished"):
        store.copy(files, tmp_path / "again")


def test_verify_says_what_is_missing_or_different(root: Path) -> None:
    store = LocalArtifacts(root)
    files = store.inventory()
    (root / "1/b/c").unlink()
    (root / "1/a.bin").write_bytes(b"b" * 3_000_000)
    (root / "2/ü ❤.txt").write_bytes(b"t")
    (root / "extra").write_bytes(b"")
    assert store.verify(files) == (
        "1/a.bin: content differs",
        "1/b/c: missing",
        "2/ü ❤.txt: 1 bytes instead of 4",
    )


def test_restore_puts_back_missing_and_different_and_leaves_the_rest(root: Path, tmp_path: Path) -> None:
    store = LocalArtifacts(root)
    files = store.inventory()
    store.copy(files, tmp_path / "copy")
    (root / "1/a.bin").unlink()
    (root / "2/ü ❤.txt").write_bytes(b"TEXT")
    (root / "2/ü ❤.txt").chmod(0o640)
    (root / "extra").write_bytes(b"stays")
    untouched = (root / "2/new\nline").stat().st_ino
    assert store.restore(files, tmp_path / "copy") == 3_000_004
    assert store.verify(files) == ()
    assert (root / "extra").read_bytes() == b"stays"
    assert (root / "2/ü ❤.txt").stat().st_mode & 0o777 == 0o640
    assert (root / "1/a.bin").stat().st_mode & 0o777 == root.stat().st_mode & 0o666
    assert (root / "2/new\nline").stat().st_ino == untouched
    assert store.restore(files, tmp_path / "copy") == 0
    assert not list(root.rglob("*.part"))


def test_restore_into_a_new_root_with_equal_files_beside_each_other(tmp_path: Path) -> None:
    old = LocalArtifacts(tmp_path / "old")
    (tmp_path / "old").mkdir()
    for number in range(40):
        (tmp_path / "old" / str(number)).write_bytes(b"same")
    files = old.inventory()
    new = LocalArtifacts(tmp_path / "new")
    assert new.restore(files, tmp_path / "old") == 160
    assert new.verify(files) == ()


def test_restore_refuses_to_leave_the_root_and_damaged_sources(root: Path, tmp_path: Path) -> None:
    store = LocalArtifacts(root)
    files = store.inventory()
    store.copy(files, tmp_path / "copy")
    (tmp_path / "copy/1/a.bin").write_bytes(b"damaged")
    (root / "1/a.bin").unlink()
    with pytest.raises(ArtifactError, match="damaged"):
        store.restore(files, tmp_path / "copy")
    assert not (root / "1/a.bin").exists()
    (tmp_path / "elsewhere").mkdir()
    (root / "2/ü ❤.txt").unlink()
    (root / "2/new\nline").unlink()
    (root / "2").rmdir()
    (root / "2").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="leads out of"):
        store.restore([file for file in files if file.path.startswith("2/")], tmp_path / "copy")
    assert not list((tmp_path / "elsewhere").iterdir())
    for path in ("../x", "/etc/x", ""):
        with pytest.raises(ArtifactError, match="not a path inside"):
            store.restore([ArtifactFile(path=path, bytes=1, sha256="0" * 64, mtime_ns=0)], tmp_path / "copy")


def test_random_trees_come_back_equal(tmp_path: Path) -> None:
    rng = random.Random(7)
    root = tmp_path / "root"
    for _ in range(200):
        path = root / "/".join(rng.choice("abcd") * rng.randint(1, 3) for _ in range(rng.randint(1, 4))) / "f"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rng.randbytes(rng.randint(0, 2000)))
    store = LocalArtifacts(root)
    files = store.inventory()
    store.copy(files, tmp_path / "copy")
    for number, file in enumerate(rng.sample(files, 20)):
        if number % 2:
            (root / file.path).write_bytes(b"?" * file.bytes)
        else:
            (root / file.path).unlink()
    store.restore(files, tmp_path / "copy")
    assert store.inventory() == files
