"""A copy made while others write equals one committed state: every stage, every moment, and seeded bugs are caught."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.model.progress import Progress, silent
from liftlock.model.uri import StoreUri
from liftlock.stores import sqlite_copy, sqlite_dirty, sqlite_schema
from liftlock.stores.sqlite import SqliteStore
from liftlock.stores.sqlite_capture import KeyLog
from liftlock.stores.sqlite_copy import Copied, copy_database
from liftlock.stores.sqlite_dirty import LOG, DirtyCopy, copy_dirty
from tests.support.sqlite import busy_writer, change, contents, contents_of, make_busy_database, replayed


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_dirty, "FIRST_CHUNK", 3)
    monkeypatch.setattr(sqlite_dirty, "LARGEST_CHUNK", 3)
    monkeypatch.setattr(sqlite_dirty, "FEW", 1)
    monkeypatch.setattr(sqlite_copy, "FIRST_PIECE", 1024)
    monkeypatch.setattr(sqlite_copy, "LARGEST_PIECE", 4096)


def _schema(path: Path) -> str:
    return SqliteStore(StoreUri.parse(f"sqlite:///{path}"), Role.TRACKING).schema_dump()


def check_interleaved(
    directory: Path, seed: int, pauses: Sequence[int], *, copy: Callable[..., Any], journal_mode: str = "delete"
) -> None:
    """Copy while, at every report of progress, some transactions are committed by somebody else."""
    source, target = directory / "source.db", directory / "copy.db"
    make_busy_database(source, journal_mode=journal_mode, rows=20)
    random = Random(seed)
    waiting = list(pauses)
    with closing(sqlite3.connect(source, isolation_level=None)) as other:
        other.execute("PRAGMA synchronous = OFF")
        states = {0: contents(other)}

        def write(_: Progress) -> None:
            for _turn in range(waiting.pop(0) if waiting else 0):
                number = change(other, random)
                states[number] = contents(other)

        schema = _schema(source)
        copy(source, target, observer=write)
    found = contents_of(target)
    (number,) = (int(row.strip("(,)")) for row in found["counter"])
    assert found == states[number]
    assert _schema(target) == schema == _schema(source)
    with closing(sqlite3.connect(target)) as made:
        assert made.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert made.execute("PRAGMA foreign_key_check").fetchall() == []
    with closing(sqlite3.connect(source)) as after:
        assert not after.execute("SELECT name FROM sqlite_master WHERE name LIKE '%liftlock%'").fetchall()


def dirty(source: Path, target: Path, *, observer: Any = silent) -> None:
    target.touch()
    copy_dirty(source, target, observer=observer)


_RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_SEEDS = st.integers(0, 2**32)
_PAUSES = st.lists(st.integers(0, 3), max_size=150)


@_RELAXED
@given(seed=_SEEDS, pauses=_PAUSES)
def test_dirty_copy_equals_a_committed_state(small_chunks: None, seed: int, pauses: list[int]) -> None:
    with TemporaryDirectory() as directory:
        check_interleaved(Path(directory), seed, pauses, copy=dirty)


@pytest.mark.parametrize("journal_mode", ["delete", "wal", "truncate", "persist"])
@settings(parent=_RELAXED, max_examples=15)
@given(seed=_SEEDS, pauses=_PAUSES)
def test_staged_copy_equals_a_committed_state(
    small_chunks: None, journal_mode: str, seed: int, pauses: list[int]
) -> None:
    with TemporaryDirectory() as directory:
        check_interleaved(Path(directory), seed, pauses, copy=copy_database, journal_mode=journal_mode)


# --- seeded bugs: the checks above must notice each ----------------------------------------------------------


def _caught(monkeypatch: pytest.MonkeyPatch) -> bool:
    for seed in range(12):
        with TemporaryDirectory() as directory:
            try:
                check_interleaved(Path(directory), seed, [2] * 60, copy=dirty)
            except (AssertionError, StoreError, sqlite3.IntegrityError):
                return True
    return False


def _old_key_missing(patch: pytest.MonkeyPatch) -> None:
    logged = KeyLog.logged
    patch.setattr(KeyLog, "logged", lambda self: {**logged(self), "UPDATE": ("NEW",)})


def _new_key_missing(patch: pytest.MonkeyPatch) -> None:
    logged = KeyLog.logged
    patch.setattr(KeyLog, "logged", lambda self: {**logged(self), "UPDATE": ("OLD",)})


def _deletes_missing(patch: pytest.MonkeyPatch) -> None:
    logged = KeyLog.logged
    patch.setattr(KeyLog, "logged", lambda self: {k: v for k, v in logged(self).items() if k != "DELETE"})


def _null_keys_dropped(patch: pytest.MonkeyPatch) -> None:
    """A key that may be NULL is taken for one that names every row."""
    table = sqlite_schema.table

    def careless(connection: sqlite3.Connection, name: str) -> sqlite_schema.Table:
        found = table(connection, name)
        return sqlite_schema.Table(found.name, found.sql, found.columns, ("k",), False) if name == "nullable" else found

    patch.setattr(sqlite_schema, "table", careless)


def _log_read_by_cursor(patch: pytest.MonkeyPatch) -> None:
    last = {"id": 0}

    def entries(self: DirtyCopy, limit: int) -> list[tuple[Any, ...]]:
        found = self._live.execute(
            f"SELECT * FROM {LOG} WHERE id > ? ORDER BY id LIMIT ?", (last["id"], limit)
        ).fetchall()
        last["id"] = found[-1][0] if found else last["id"]
        return found

    patch.setattr(DirtyCopy, "entries", entries)


def _log_emptied_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(DirtyCopy, "consume", lambda self, entries: self._live.execute(f"DELETE FROM {LOG}"))


def _replaced_rows_missing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyLog, "replaced", lambda self, connection, table: [])


def _last_round_left_out(patch: pytest.MonkeyPatch) -> None:
    read = DirtyCopy._read_changes
    patch.setattr(DirtyCopy, "_read_changes", lambda self, limit: read(self, 0 if limit == -1 else limit))


@pytest.mark.parametrize(
    "bug",
    [
        _old_key_missing,
        _new_key_missing,
        _deletes_missing,
        _null_keys_dropped,
        _log_read_by_cursor,
        _log_emptied_whole,
        _last_round_left_out,
        _replaced_rows_missing,
    ],
)
def test_a_seeded_bug_is_caught(
    small_chunks: None, monkeypatch: pytest.MonkeyPatch, bug: Callable[[pytest.MonkeyPatch], None]
) -> None:
    bug(monkeypatch)
    assert _caught(monkeypatch)


def test_without_a_bug_the_same_seeds_pass(small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not _caught(monkeypatch)


# --- real processes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("journal_mode", "forced", "how"),
    [("delete", False, {"steps", "dirty", "clone"}), ("delete", True, {"dirty"}), ("wal", False, {"log"})],
)
def test_copy_against_a_writing_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal_mode: str, forced: bool, how: set[str]
) -> None:
    source, target = tmp_path / "source.db", tmp_path / "copy.db"
    make_busy_database(source, journal_mode=journal_mode, rows=3000)
    monkeypatch.setattr(sqlite_copy, "_can_clone", lambda target: False)
    if forced:
        monkeypatch.setattr(sqlite_copy, "copy_in_steps", lambda *_, **__: None)
    with busy_writer(source, seed=7, pause=0.002):
        copied = copy_database(source, target)
    assert isinstance(copied, Copied)
    assert copied.how in how
    assert copied.longest_block_seconds < 0.25, "a machine under load may be slow, but not this slow"
    found = contents_of(target)
    (number,) = (int(row.strip("(,)")) for row in found["counter"])
    assert number >= 1
    assert found == replayed(tmp_path / "replayed.db", 7, number, rows=3000)


def test_a_database_that_fits_one_step_never_needs_triggers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.db"
    make_busy_database(source)
    monkeypatch.setattr(sqlite_copy, "copy_dirty", lambda *_, **__: pytest.fail("triggers were used"))
    with busy_writer(source, seed=1):
        for number in range(5):
            assert copy_database(source, tmp_path / f"{number}.db").how in {"steps", "clone"}


def test_fingerprint_of_a_live_database_writes_nothing_into_it(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    make_busy_database(source, rows=2000)
    store = SqliteStore(StoreUri.parse(f"sqlite:///{source}"), Role.TRACKING)
    dead = tmp_path / ".source.db.view-99999999-x"
    dead.mkdir()
    (dead / "database.sqlite").touch()
    with busy_writer(source, seed=3, pause=0.2):
        taken = store.fingerprint()
    assert taken.rows > 8000
    assert [path.name for path in tmp_path.iterdir()] == ["source.db"]


def test_a_database_that_never_stands_still_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source.db"
    make_busy_database(source)
    monkeypatch.setattr("liftlock.stores.sqlite_copy.copy_in_steps", lambda *_, **__: None)
    store = SqliteStore(StoreUri.parse(f"sqlite:///{source}"), Role.TRACKING)
    with busy_writer(source, seed=3, pause=0.05), pytest.raises(StoreError) as caught:
        store.fingerprint()
    assert caught.value.retryable


def test_clone_holds_the_write_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File systems here do not clone; what matters is that nobody can commit while the file is cloned."""
    source, target = tmp_path / "source.db", tmp_path / "copy.db"
    make_busy_database(source)

    def clone(new: int, request: int, old: int) -> None:
        assert request == sqlite_copy.FICLONE
        with (
            closing(sqlite3.connect(source, timeout=0, isolation_level=None)) as other,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            other.execute("BEGIN IMMEDIATE")
        os.write(new, source.read_bytes())

    monkeypatch.setattr(sqlite_copy, "_can_clone", lambda target: True)
    monkeypatch.setattr("fcntl.ioctl", clone)
    assert copy_database(source, target).how == "clone"
    assert contents_of(target) == contents_of(source)


# --- killed predecessors, changing schemas -------------------------------------------------------------------

_SNAPSHOT = """
import sys
from pathlib import Path
from liftlock.stores import sqlite_copy
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import open_store
sqlite_copy._can_clone = lambda target: False
sqlite_copy.copy_in_steps = lambda *a, **k: None
open_store(StoreUri.parse("sqlite:///" + sys.argv[1]), Role.TRACKING).snapshot(Path(sys.argv[2]))
"""


@pytest.mark.parametrize("tidied", [True, False])
def test_leftovers_of_a_killed_predecessor_are_hidden_and_removed(tmp_path: Path, tidied: bool) -> None:
    source = tmp_path / "source.db"
    make_busy_database(source)
    store = SqliteStore(StoreUri.parse(f"sqlite:///{source}"), Role.TRACKING)
    schema, print_, tables = store.schema_dump(), store.fingerprint(), store.facts(exact_rows=True).tables
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    child = subprocess.run(
        [sys.executable, "-c", _SNAPSHOT, str(source), str(tmp_path / "first")],
        env={**os.environ, "LIFTLOCK_CRASH_AT": "after:capture changes"},
        timeout=60,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(source)) as connection:
        assert connection.execute(
            "SELECT count(*) FROM sqlite_master WHERE name LIKE '\\_liftlock%' ESCAPE '\\'"
        ).fetchone()[0]
    assert store.schema_dump() == schema
    assert store.fingerprint().differences(print_) == ()
    assert [entry.name for entry in store.facts().tables] == [entry.name for entry in tables]
    if tidied:
        store.tidy()
        with closing(sqlite3.connect(source)) as connection:
            left = "SELECT name FROM sqlite_master WHERE name LIKE '\\_liftlock%' ESCAPE '\\'"
            assert connection.execute(left).fetchall() == []
        store.tidy()
        assert store.fingerprint().differences(print_) == ()
        return
    store.snapshot(tmp_path / "second")
    for path in (source, tmp_path / "second" / "database.sqlite"):
        with closing(sqlite3.connect(path)) as connection:
            assert not connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%liftlock%'").fetchall()


def test_a_schema_that_changes_meanwhile_stops_the_copy_and_leaves_nothing(small_chunks: None, tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "copy.db"
    make_busy_database(source)
    target.touch()

    def migrate(progress: Progress) -> None:
        with closing(sqlite3.connect(source)) as other, other:
            other.execute("CREATE TABLE IF NOT EXISTS brand_new (a)")

    with pytest.raises(StoreError, match="schema") as caught:
        copy_dirty(source, target, observer=migrate)
    assert caught.value.retryable
    with closing(sqlite3.connect(source)) as connection:
        assert not connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%liftlock%'").fetchall()


def test_settings_of_the_file_are_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "source.db", tmp_path / "copy.db"
    with closing(sqlite3.connect(source)) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA user_version = 7")
        connection.execute("PRAGMA application_id = 99")
        connection.execute("CREATE TABLE t (a TEXT NOT NULL PRIMARY KEY)")
        connection.execute("INSERT INTO t VALUES ('ü')")
        connection.commit()
    dirty(source, target)
    with closing(sqlite3.connect(target)) as connection:
        found = [
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("encoding", "page_size", "user_version")
        ]
        assert found == ["UTF-16le", 8192, 7]
        assert connection.execute("SELECT a FROM t").fetchall() == [("ü",)]


def test_an_empty_database_is_copied(tmp_path: Path) -> None:
    source = tmp_path / "source.db"
    source.touch()
    copies: tuple[Callable[[Path, Path], object], ...] = (copy_database, dirty)
    for number, copy in enumerate(copies):
        copy(source, tmp_path / f"{number}.db")
        assert _schema(tmp_path / f"{number}.db") == _schema(source)
