"""What is particular to SQLite files: bad files, rights, journals, links, and hashing of loose types."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from liftlock.errors import LiftlockError, Refused, StoreCorrupt, StoreError, UsageError
from liftlock.model.codec import to_json
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.stores import hashing
from liftlock.stores.opening import open_store
from liftlock.stores.sqlite import SqliteStore
from liftlock.stores.sqlite_connection import side_files
from tests.support.mlflow_schema import REVISION
from tests.support.snapshots import held
from tests.support.sqlite import held_open, make_database


@pytest.fixture
def store(tmp_path: Path) -> SqliteStore:
    return make_database(tmp_path / "mlflow.db")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "snapshot"
    made.mkdir(mode=0o700)
    return made


def _at(path: Path, role: Role = Role.TRACKING) -> SqliteStore:
    store = open_store(StoreUri.parse(f"sqlite:///{path}"), role)
    assert isinstance(store, SqliteStore)
    return store


def _one_line(error: LiftlockError) -> None:
    assert "\n" not in error.message
    assert error.hint


# --- bad files -----------------------------------------------------------------------------------------------


def _text(path: Path) -> None:
    path.write_text("this is a text file and no database at all\n" * 100)


def _truncated(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2 // 4096 * 4096 + 100])


def _scribbled(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    for page in range(1, len(raw) // 4096):
        raw[page * 4096 : page * 4096 + 16] = b"\xff" * 16
    path.write_bytes(raw)


@pytest.mark.parametrize("damage", [_text, _truncated, _scribbled])
def test_a_damaged_file_is_said_to_be_damaged(store: SqliteStore, directory: Path, damage: Any) -> None:
    damage(store.path)
    raw = store.path.read_bytes()
    with pytest.raises(StoreCorrupt) as caught:
        held(store, store.snapshot(directory), directory)
    _one_line(caught.value)
    assert store.check_integrity()
    with pytest.raises(StoreCorrupt):
        store.fingerprint()
    assert store.path.read_bytes() == raw


@pytest.mark.parametrize("damage", [_text, _truncated, _scribbled])
def test_a_damaged_file_can_be_replaced_by_a_restore(store: SqliteStore, directory: Path, damage: Any) -> None:
    snapshot = store.snapshot(directory)
    damage(store.path)
    store.restore(snapshot, directory)
    assert store.fingerprint().differences(held(store, snapshot, directory)) == ()


def test_broken_foreign_keys_are_found(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE runs SET experiment_id = 99 WHERE rowid = 1")
    assert store.check_integrity() == ("foreign_key_check: runs row 1 names a missing row of experiments",)


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.db", tmp_path):
        with pytest.raises(StoreError) as caught:
            _at(path).facts()
        _one_line(caught.value)
        assert str(path) in caught.value.message
    assert list(tmp_path.iterdir()) == []  # nothing was made by looking


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 200 kB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(place)], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stops_snapshot_and_restore_and_harms_nothing(
    store: SqliteStore, directory: Path, small_disk: Path
) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("INSERT INTO blobs VALUES ('large', randomblob(400000))")
    with pytest.raises(StoreError) as caught:
        store.snapshot(small_disk)
    _one_line(caught.value)
    assert list(small_disk.iterdir()) == []
    snapshot = store.snapshot(directory)
    target = make_database(small_disk / "mlflow.db", Role.AUTH)
    before = target.fingerprint()
    with pytest.raises(StoreError) as caught:
        target.restore(snapshot, directory)
    _one_line(caught.value)
    assert target.fingerprint().differences(before) == ()
    assert [path.name for path in small_disk.iterdir()] == ["mlflow.db"]


_AS_NOBODY = """
import os, sys
from pathlib import Path
from liftlock.errors import LiftlockError
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import open_store
store = open_store(StoreUri.parse("sqlite:///" + sys.argv[1]), Role.TRACKING)
os.setgid(65534); os.setuid(65534)
try:
    print(sorted(store.facts().rights.items()))
except LiftlockError as error:
    print(type(error).__name__, error.message, "|", error.hint)
"""


def _as_nobody(path: Path) -> str:
    if os.geteuid():
        pytest.skip("changing the user needs root")
    for parent in path.parents:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)
    return subprocess.run(
        [sys.executable, "-c", _AS_NOBODY, str(path)], capture_output=True, text=True, check=True, timeout=60
    ).stdout


def test_rights_are_observed(store: SqliteStore) -> None:
    assert store.facts().rights == {"read": True, "write": True, "write directory": True}
    store.path.chmod(0o644)
    assert _as_nobody(store.path) == "[('read', True), ('write', False), ('write directory', False)]\n"
    store.path.chmod(0o600)
    said = _as_nobody(store.path)
    assert said.startswith(f"StoreError no right to read {store.path}")


def test_an_empty_file_is_a_database_without_tables(tmp_path: Path, directory: Path) -> None:
    (tmp_path / "empty.db").touch()
    store = _at(tmp_path / "empty.db")
    snapshot = store.snapshot(directory)
    assert (snapshot.revision, snapshot.version_table) == (None, None)
    assert held(store, snapshot, directory).tables == ()
    store.restore(snapshot, directory)
    assert store.facts().tables == ()


# --- journals and links --------------------------------------------------------------------------------------

_DIE_WRITING = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode = " + sys.argv[2])
connection.execute("PRAGMA cache_size = 5")
if sys.argv[2] == "wal":
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE runs SET name = 'committed to the log'")
connection.execute("BEGIN")
connection.execute("UPDATE params SET value = value || 'half-done'")
connection.execute("DELETE FROM metrics")
os.kill(os.getpid(), 9)
"""


def _die_writing(path: Path, mode: str) -> None:
    assert (
        subprocess.run([sys.executable, "-c", _DIE_WRITING, str(path), mode], timeout=60, check=False).returncode == -9
    )


def test_what_a_crashed_writer_left_is_rolled_back_by_reading(store: SqliteStore, directory: Path) -> None:
    before = store.fingerprint()
    _die_writing(store.path, "delete")
    assert store.path.with_name("mlflow.db-journal").stat().st_size > 0
    assert store.revision() == REVISION
    assert store.fingerprint().differences(before) == ()
    assert held(store, store.snapshot(directory), directory).differences(before) == ()


def test_commits_in_the_log_belong_to_the_database(store: SqliteStore, directory: Path) -> None:
    _die_writing(store.path, "wal")
    facts = store.facts()
    assert facts.journal_mode == "wal"
    assert facts.bytes > store.path.stat().st_size
    snapshot = store.snapshot(directory)
    assert [path.name for path in directory.iterdir()] == ["database.sqlite"]
    scratch = store.scratch("x")
    scratch.restore(snapshot, directory)
    assert {row["name"] for row in scratch.rows("SELECT name FROM runs")} == {"committed to the log"}
    assert len(list(scratch.rows("SELECT * FROM metrics"))) > 0


@pytest.mark.parametrize("mode", ["delete", "wal", "persist", "truncate"])
def test_an_old_journal_is_never_applied_to_restored_content(store: SqliteStore, directory: Path, mode: str) -> None:
    snapshot = store.snapshot(directory)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM tags")
    _die_writing(store.path, mode)
    store.restore(snapshot, directory)
    assert sorted(path.name for path in store.path.parent.iterdir()) == ["mlflow.db", "snapshot"]
    assert store.fingerprint().differences(held(store, snapshot, directory)) == ()
    assert store.check_integrity() == ()


_RESTORE = """
import sys
from pathlib import Path
from liftlock.model.codec import from_json
from liftlock.model.deployment import Role
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import open_store
store = open_store(StoreUri.parse("sqlite:///" + sys.argv[1]), Role.TRACKING)
store.restore(from_json(sys.argv[2], StoreSnapshot), Path(sys.argv[3]))
"""


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_killed_restore_loses_no_commit_of_the_old_content(store: SqliteStore, directory: Path, mode: str) -> None:
    """What the old database's log or journal holds belongs to its content until the rename."""
    snapshot = store.snapshot(directory)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("UPDATE runs SET user_id = 'old'")
    _die_writing(store.path, mode)
    crashed = {file: file.read_bytes() for file in (store.path, *side_files(store.path)) if file.exists()}
    old = store.fingerprint()
    outcomes = set()
    for effect in ("write restored database", "fold old journal", "remove old journal", "switch to restored database"):
        for side in ("before", "after"):
            for file in (store.path, *side_files(store.path)):
                file.unlink(missing_ok=True)
            for file, raw in crashed.items():
                file.write_bytes(raw)
            child = subprocess.run(
                [sys.executable, "-c", _RESTORE, str(store.path), to_json(snapshot), str(directory)],
                env={**os.environ, "LIFTLOCK_CRASH_AT": f"{side}:{effect}"}, timeout=60, check=False,
            )  # fmt: skip
            assert child.returncode == -9
            now = store.fingerprint()
            outcomes.add(now.differences(old) == ())
            assert now.differences(old) == () or now.differences(held(store, snapshot, directory)) == (), (side, effect)
            store.restore(snapshot, directory)
            assert store.fingerprint().differences(held(store, snapshot, directory)) == ()
    assert outcomes == {True, False}


def test_restore_keeps_owner_and_mode_and_the_link(store: SqliteStore, directory: Path, tmp_path: Path) -> None:
    snapshot = store.snapshot(directory)
    store.path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(store.path, 1234, 2345)
    before = store.path.stat()
    link = tmp_path / "link.db"
    link.symlink_to(store.path)
    _at(link).restore(snapshot, directory)
    after = store.path.stat()
    assert link.is_symlink()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_a_restored_new_file_is_private(store: SqliteStore, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    scratch = store.scratch("private")
    scratch.restore(snapshot, directory)
    assert scratch.path.stat().st_mode & 0o777 == 0o600


def test_restore_refuses_while_the_log_is_in_use(store: SqliteStore, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as reader:
        reader.execute("PRAGMA journal_mode = wal")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM runs").fetchone()
        with closing(sqlite3.connect(store.path)) as writer, writer:
            writer.execute("DELETE FROM tags")
        with pytest.raises(StoreError) as caught:
            store.restore(snapshot, directory)
        assert caught.value.retryable
        reader.execute("COMMIT")
    assert list(store.rows("SELECT * FROM tags")) == []


# --- writers, scratch ----------------------------------------------------------------------------------------


def test_a_reader_is_no_writer_and_a_link_hides_nobody(store: SqliteStore, tmp_path: Path) -> None:
    with store.path.open("rb") as file, subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE,
                                                          pass_fds=[file.fileno()]) as child:  # fmt: skip
        assert store.writers() == ()
        child.communicate(b"\n")
    (tmp_path / "hard.db").hardlink_to(store.path)
    with held_open(tmp_path / "hard.db") as pid:
        (found,) = store.writers()
        assert found.pid == pid
        assert sys.executable in found.description


@pytest.mark.parametrize("name", ["", "../x", "a/b", "UPPER", "a b"])
def test_bad_scratch_names_are_refused(store: SqliteStore, name: str) -> None:
    with pytest.raises(StoreError):
        store.scratch(name)


def test_scratch_elsewhere(store: SqliteStore, directory: Path, tmp_path: Path) -> None:
    snapshot = store.snapshot(directory)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scratch = store.scratch("copy", directory=elsewhere)
    scratch.restore(snapshot, directory)
    assert scratch.path == elsewhere / "mlflow.db.liftlock-copy"
    scratch.drop()
    assert list(elsewhere.iterdir()) == []
    with pytest.raises(Refused):
        store.drop()


@pytest.mark.parametrize("uri", ["mysql://u:hunter2@h/db", "file:///tmp/mlruns", "./mlruns"])
def test_engines_that_cannot_be_upgraded_yet(uri: str) -> None:
    with pytest.raises(UsageError, match="yet") as caught:
        open_store(StoreUri.parse(uri), Role.TRACKING)
    _one_line(caught.value)
    assert "hunter2" not in caught.value.message


def test_opening_sqlite_imports_no_driver_of_postgresql() -> None:
    code = (
        "import sys; from liftlock.stores.opening import open_store; from liftlock.model.uri import StoreUri; "
        "from liftlock.model.deployment import Role; open_store(StoreUri.parse('sqlite:///x.db'), Role.TRACKING); "
        "sys.exit('psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_revision_of_auth_in_a_database_of_its_own(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "basic_auth.db")) as connection, connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
        connection.execute("INSERT INTO alembic_version VALUES ('8606fa83a998')")
    assert _at(tmp_path / "basic_auth.db", Role.AUTH).revision() == "8606fa83a998"


def test_rows_without_counting_are_the_highest_rowid(store: SqliteStore) -> None:
    with closing(sqlite3.connect(store.path)) as connection, connection:
        connection.execute("DELETE FROM keyless WHERE rowid = 1")
        connection.execute("CREATE TABLE flat (a TEXT PRIMARY KEY) WITHOUT ROWID")
    facts = store.facts()
    assert {table.name: table.rows for table in facts.tables if table.name in ("keyless", "flat")} == {
        "flat": 0,
        "keyless": 3,
    }
    exact = {table.name: table for table in store.facts(exact_rows=True).tables}
    assert exact["keyless"].rows == 2
    assert (exact["metrics"].bytes or 0) >= 3 * 4096  # the table and its two indexes


# --- hashing -------------------------------------------------------------------------------------------------

_DIFFERENT = [
    "NULL", "''", "'NULL'", "1", "1.0", "'1'", "'1.0'", "X'31'", "X''", "9e999", "-9e999", "0.1", "0.1 + 1e-17 * 2",
    "9007199254740993", "9007199254740992.0", "'a' || char(0) || 'b'", "'a' || char(0) || 'c'", "'a'",
    "CAST(X'FF' AS TEXT)", "X'FF'", "CAST(X'FE' AS TEXT)", "'ÿ'",
]  # fmt: skip


def _sums(path: Path, *rows: str) -> tuple[int, str, str]:
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a, b)")
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({row})")
    entry = _at(path).fingerprint().table("t")
    assert entry
    return (entry.rows, entry.sum1, entry.sum2)


def test_values_that_look_alike_hash_apart(tmp_path: Path) -> None:
    sums = {value: _sums(tmp_path / "t.db", f"{value}, 0") for value in _DIFFERENT}
    assert len(set(sums.values())) == len(_DIFFERENT)


def test_values_do_not_run_into_each_other(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    assert _sums(path, "'a', 'bc'") != _sums(path, "'ab', 'c'")
    assert _sums(path, "'a', 'b'") != _sums(path, "'b', 'a'")
    assert _sums(path, "1, 2", "3, 4") != _sums(path, "1, 4", "3, 2")


def _check_sums(path: Path) -> None:
    assert _sums(path, "NULL, 1") != _sums(path, "'', 1")
    assert _sums(path, "1, 1", "1, 1") != _sums(path, "2, 2", "2, 2")
    assert _sums(path, "1, 1", "1, 1")[1:] != _sums(path)[1:]


def test_pairs_of_equal_rows_count(tmp_path: Path) -> None:
    _check_sums(tmp_path / "t.db")


def test_xor_instead_of_a_sum_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def xor(values: Any) -> int:
        total = 0
        for value in values:
            total ^= value
        return total

    monkeypatch.setattr(hashing, "sum", xor, raising=False)
    with pytest.raises(AssertionError):
        _check_sums(tmp_path / "t.db")


def test_null_dropped_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = hashing._encode
    monkeypatch.setattr(hashing, "_encode", lambda row: encode(tuple("" if value is None else value for value in row)))
    with pytest.raises(AssertionError):
        _check_sums(tmp_path / "t.db")


def test_invalid_text_does_not_change_how_valid_text_hashes(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    valid = _sums(path, "'ä', 1")
    both = _sums(path, "'ä', 1", "CAST(X'FF' AS TEXT), 1")
    invalid = _sums(path, "CAST(X'FF' AS TEXT), 1")
    assert [(int(a) + int(b)) % 2**64 for a, b in zip(valid[1:], invalid[1:], strict=True)] == [
        int(x) for x in both[1:]
    ]


def test_the_algorithm_stays_what_it_was(tmp_path: Path) -> None:
    """Fingerprints are kept in backups: a change of these numbers needs a new name of the algorithm."""
    assert _sums(tmp_path / "t.db", "1, 'ä'", "NULL, 0.1") == (
        2, "13753582051393957583", "9815782212972769775",
    )  # fmt: skip
