"""What every database engine must do, in one suite. Engines differ only in their harness."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from liftlock.errors import LiftlockError, StoreCorrupt, StoreError
from liftlock.model.codec import from_json, to_json
from liftlock.model.deployment import Role
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import Engine
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store
from tests.support.harness import HARNESSES, StoreFactory, StoreHarness
from tests.support.mlflow_schema import AUTH_REVISION, REVISION, data
from tests.support.snapshots import held


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "snapshot"
    made.mkdir(mode=0o700)
    return made


# --- facts ---------------------------------------------------------------------------------------------------


def test_facts_tell_what_is_there(harness: StoreHarness, store: Store) -> None:
    facts = store.facts(exact_rows=True)
    assert (facts.role, facts.engine) == (Role.TRACKING, harness.engine)
    assert (facts.revision, facts.version_table) == (REVISION, "alembic_version")
    assert facts.versions == {"alembic_version": (REVISION,)}
    counted = {table.name: table.rows for table in facts.tables}
    assert {name: counted[name] for name in data(Role.TRACKING)} == {
        name: len(rows) for name, rows in data(Role.TRACKING).items()
    }
    assert facts.bytes > 0
    assert facts.engine_version[0].isdigit()
    assert facts.rights["read"]
    assert facts.rights["write"]
    assert store.revision() == REVISION


def test_facts_name_other_owners_of_the_version_table(harness: StoreHarness, store: Store) -> None:
    harness.execute(store, "CREATE TABLE alembic_version_airflow (version_num VARCHAR(32) NOT NULL)")
    harness.execute(store, "INSERT INTO alembic_version_airflow VALUES ('686269002441')")
    harness.execute(store, "INSERT INTO alembic_version VALUES ('feedfacecafe')")
    facts = store.facts()
    assert facts.versions["alembic_version_airflow"] == ("686269002441",)
    assert set(facts.versions["alembic_version"]) == {REVISION, "feedfacecafe"}


def test_auth_has_a_chain_of_its_own(harness: StoreHarness, store_factory: StoreFactory) -> None:
    auth = store_factory(Role.AUTH)
    assert auth.revision() == AUTH_REVISION
    assert auth.facts().version_table == "alembic_version_auth"
    # Releases before 2.x's rename kept auth's revision in `alembic_version`.
    harness.execute(auth, "ALTER TABLE alembic_version_auth RENAME TO alembic_version")
    assert auth.revision() == AUTH_REVISION
    assert auth.facts().version_table == "alembic_version"


def test_one_database_for_tracking_and_auth(harness: StoreHarness, store: Store) -> None:
    harness.execute(store, "CREATE TABLE alembic_version_auth (version_num VARCHAR(32) NOT NULL)")
    harness.execute(store, "INSERT INTO alembic_version_auth VALUES ('8606fa83a998')")
    assert store.revision() == REVISION
    assert open_store(store.uri, Role.AUTH).revision() == AUTH_REVISION


def test_no_revision_is_a_value(harness: StoreHarness, store: Store) -> None:
    harness.execute(store, "DELETE FROM alembic_version")
    assert store.revision() is None
    harness.execute(store, "DROP TABLE alembic_version")
    assert store.revision() is None
    assert store.facts().version_table is None


def test_facts_hold_no_password(store: Store) -> None:
    if store.uri.password:
        assert store.uri.password.reveal() not in to_json(store.facts())


def test_columns_are_those_a_fingerprint_covers(harness: StoreHarness, store: Store) -> None:
    # An engine may add entries of its own to a fingerprint (sequences), but no table is left out.
    assert store.columns().items() <= store.fingerprint().columns().items()
    assert store.columns().keys() >= data(Role.TRACKING).keys()
    harness.execute(store, "ALTER TABLE runs ADD COLUMN aaa INTEGER")
    assert store.columns()["runs"][0] == "aaa"


def test_a_sound_database_has_no_problems(store: Store) -> None:
    assert store.check_integrity() == ()


def test_writers_are_seen_and_may_be_ignored(harness: StoreHarness, store: Store) -> None:
    assert store.writers() == ()
    with harness.hold_open(store) as pid:
        found = store.writers()
        assert len(found) == 1
        assert found[0].pid in (pid, None)
        assert found[0].description
        assert store.facts().writers == found
        assert store.writers(ignore_pids=frozenset({pid})) == (() if found[0].pid == pid else found)
    assert store.writers() == ()


# --- fingerprint ---------------------------------------------------------------------------------------------


def test_fingerprint_covers_every_table_and_column(store: Store) -> None:
    print_ = store.fingerprint()
    assert print_ == type(print_)(algorithm=print_.algorithm, tables=store.fingerprint().tables, seconds=print_.seconds)
    for name, rows in data(Role.TRACKING).items():
        entry = print_.table(name)
        assert entry is not None
        assert entry.rows == len(rows)
        assert list(entry.columns) == sorted(entry.columns)
        assert 0 <= int(entry.sum1) < 2**64
        assert not entry.rows or entry.sum1 != entry.sum2
    spans = print_.table("spans")
    assert spans is not None
    assert "duration_ns" in spans.columns
    assert print_.rows >= sum(len(rows) for rows in data(Role.TRACKING).values())


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE tags SET value = '' WHERE value IS NULL", "tags"),
        ("UPDATE tags SET value = 'NULL' WHERE value IS NULL", "tags"),
        ("UPDATE tags SET value = NULL WHERE value = ''", "tags"),
        ("UPDATE params SET value = '1.00' WHERE value = '1.0'", "params"),
        ("UPDATE metrics SET value = 0.3 WHERE key = 'loss' AND step = 0", "metrics"),
        ("UPDATE metrics SET value = -value WHERE key = 'inf' AND step = 0", "metrics"),
        ("UPDATE metrics SET step = 9007199254740992 WHERE key = 'one' AND step = 9007199254740993", "metrics"),
        ("UPDATE blobs SET data = NULL WHERE name = 'empty'", "blobs"),
        ("UPDATE runs SET end_time = end_time + 1 WHERE end_time IS NOT NULL", "runs"),
        ("DELETE FROM keyless WHERE word = 'twice'", "keyless"),
        ("INSERT INTO keyless VALUES ('new', 1), ('new', 1)", "keyless"),
        ("UPDATE spans SET end_ns = 5 WHERE end_ns IS NULL", "spans"),
        ("UPDATE model_versions SET version = 3 - version + 100", "model_versions"),
    ],
)
def test_fingerprint_shows_each_change_and_only_it(
    harness: StoreHarness, store: Store, change: str, table: str
) -> None:
    before = store.fingerprint()
    harness.execute(store, change)
    assert before.differences(store.fingerprint()) == (table,)


def test_fingerprint_shows_a_swap_between_two_rows(harness: StoreHarness, store: Store) -> None:
    """Sums over single columns would not: the same values are there, in other rows."""
    before = store.fingerprint()
    harness.execute(
        store,
        "UPDATE registered_models SET description = CASE name WHEN 'model' THEN '' ELSE NULL END",
    )
    assert before.differences(store.fingerprint()) == ("registered_models",)


def test_fingerprint_does_not_depend_on_the_order_of_rows(harness: StoreHarness, store: Store) -> None:
    before = store.fingerprint()
    harness.execute(store, "DELETE FROM params WHERE key = 'p6'")
    assert before.differences(store.fingerprint()) == ("params",)
    for row in reversed(data(Role.TRACKING)["params"]):
        if row["key"] == "p6":
            harness.execute(store, "INSERT INTO params VALUES (:key, :value, :run_uuid)", row)
    assert before.differences(store.fingerprint()) == ()


def test_fingerprint_of_given_columns_ignores_new_ones(harness: StoreHarness, store: Store) -> None:
    before = store.fingerprint()
    harness.execute(store, "ALTER TABLE runs ADD COLUMN aaa_workspace VARCHAR(63) DEFAULT 'default' NOT NULL")
    harness.execute(store, "CREATE TABLE brand_new (a INTEGER)")
    assert before.differences(store.fingerprint()) == ("brand_new", "runs")
    assert before.differences(store.fingerprint(columns=before.columns())) == ()


def test_fingerprint_of_nothing_but_one_column(store: Store) -> None:
    print_ = store.fingerprint(columns={"runs": ["status", "run_uuid"]})
    assert [(entry.table, entry.columns) for entry in print_.tables] == [("runs", ("run_uuid", "status"))]


@pytest.mark.parametrize("columns", [{"nope": ["a"]}, {"runs": ["run_uuid", "nope"]}])
def test_fingerprint_of_what_is_missing_is_an_error(store: Store, columns: dict[str, list[str]]) -> None:
    with pytest.raises(StoreError, match="nope"):
        store.fingerprint(columns=columns)


# --- snapshot and restore ------------------------------------------------------------------------------------


def _check_files(snapshot: StoreSnapshot, directory: Path) -> None:
    listed = {entry.path for entry in snapshot.files}
    present = {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}
    assert listed == present
    for entry in snapshot.files:
        raw = (directory / entry.path).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (entry.bytes, entry.sha256)
        assert (directory / entry.path).stat().st_mode & 0o077 == 0


def test_snapshot_says_what_it_holds(harness: StoreHarness, store: Store, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    assert (snapshot.role, snapshot.engine) == (Role.TRACKING, harness.engine)
    assert (snapshot.revision, snapshot.version_table) == (REVISION, "alembic_version")
    assert held(store, snapshot, directory).differences(store.fingerprint()) == ()
    assert snapshot.seconds > 0
    _check_files(snapshot, directory)
    assert from_json(to_json(snapshot), StoreSnapshot) == snapshot


def test_restore_into_scratch_gives_an_equal_database(harness: StoreHarness, store: Store, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    scratch = store.scratch("verify")
    assert not scratch.exists()
    scratch.restore(snapshot, directory)
    try:
        assert scratch.exists()
        assert scratch.fingerprint().differences(held(store, snapshot, directory)) == ()
        assert scratch.schema_dump() == store.schema_dump()
        assert scratch.revision() == REVISION
        assert scratch.check_integrity() == ()
        # Keys that count up go on where they were; a trigger that was copied still fires.
        harness.execute(scratch, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('next', 'active')")
        assert [
            row["experiment_id"] for row in scratch.rows("SELECT experiment_id FROM experiments WHERE name='next'")
        ] == [4]
        harness.execute(scratch, "UPDATE registered_models SET name = 'other' WHERE name = 'modèle'")
        assert [dict(row) for row in scratch.rows("SELECT * FROM renames")] == [
            {"old_name": "modèle", "new_name": "other"}
        ]
    finally:
        scratch.drop()
    assert not scratch.exists()
    assert store.exists()


def test_restore_takes_everything_back(harness: StoreHarness, store: Store, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    schema = store.schema_dump()
    for sql in (
        "CREATE TABLE workspaces (name VARCHAR(63) NOT NULL PRIMARY KEY)",
        "ALTER TABLE runs ADD COLUMN workspace VARCHAR(63) DEFAULT 'default' NOT NULL",
        "DROP TABLE tags",
        "DELETE FROM metrics",
        "UPDATE alembic_version SET version_num = 'f4a9b2c7d1e6'",
        "CREATE INDEX brand_new_index ON params (value)",
    ):
        harness.execute(store, sql)
    assert store.schema_dump() != schema
    for _ in range(2):  # a repeated call ends alike
        store.restore(snapshot, directory)
        assert store.fingerprint().differences(held(store, snapshot, directory)) == ()
        assert store.schema_dump() == schema
        assert store.revision() == REVISION
    _check_files(snapshot, directory)


def test_auth_goes_through_snapshot_and_restore(
    harness: StoreHarness, store_factory: StoreFactory, directory: Path
) -> None:
    auth = store_factory(Role.AUTH)
    snapshot = auth.snapshot(directory)
    assert (snapshot.role, snapshot.revision, snapshot.version_table) == (
        Role.AUTH, AUTH_REVISION, "alembic_version_auth",
    )  # fmt: skip
    harness.execute(auth, "DELETE FROM experiment_permissions")
    auth.restore(snapshot, directory)
    assert auth.fingerprint().differences(held(auth, snapshot, directory)) == ()


@pytest.mark.parametrize("damage", ["flip", "truncate", "grow", "missing"])
def test_a_damaged_snapshot_is_refused_and_nothing_changes(
    harness: StoreHarness, store: Store, directory: Path, damage: str
) -> None:
    snapshot = store.snapshot(directory)
    harness.execute(store, "DELETE FROM metrics WHERE key = 'one'")
    before = store.fingerprint()
    for entry in snapshot.files:
        path = directory / entry.path
        raw = path.read_bytes()
        if damage == "flip":
            path.write_bytes(raw[: len(raw) // 2] + bytes([raw[len(raw) // 2] ^ 1]) + raw[len(raw) // 2 + 1 :])
        elif damage == "truncate":
            path.write_bytes(raw[:-1])
        elif damage == "grow":
            path.write_bytes(raw + b"\0")
        else:
            path.unlink()
        with pytest.raises(StoreCorrupt) as caught:
            store.restore(snapshot, directory)
        assert entry.path in caught.value.message
        assert "\n" not in caught.value.message
        path.write_bytes(raw)
    assert store.fingerprint().differences(before) == ()
    store.restore(snapshot, directory)
    assert store.fingerprint().differences(held(store, snapshot, directory)) == ()


def test_snapshot_while_others_write_is_of_one_moment(harness: StoreHarness, store: Store, directory: Path) -> None:
    """Each commit adds one row to two tables; a copy that mixes moments has them unequal."""
    harness.execute(store, "CREATE TABLE ledger (n INTEGER NOT NULL PRIMARY KEY)")
    done = threading.Event()
    written: list[int] = []
    failures: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not done.is_set():
                number += 1
                harness.execute(store, "INSERT INTO ledger VALUES (:n)", {"n": number})
                harness.execute(store, "UPDATE runs SET start_time = :n", {"n": number})
                written.append(number)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while len(written) < 3 and not failures:
            done.wait(0.01)
        snapshot = store.snapshot(directory)
    finally:
        done.set()
        thread.join()
    assert not failures
    scratch = store.scratch("moment")
    scratch.restore(snapshot, directory)
    try:
        assert scratch.fingerprint().differences(held(store, snapshot, directory)) == ()
        (row,) = scratch.rows("SELECT max(n) AS n, count(*) AS rows FROM ledger")
        assert row["n"] == row["rows"] >= 3
        values = {row["start_time"] for row in scratch.rows("SELECT start_time FROM runs")}
        assert values in ({row["n"]}, {row["n"] - 1})
    finally:
        scratch.drop()


_RESTORE = """
import sys
from pathlib import Path
from liftlock.model.codec import from_json
from liftlock.model.deployment import Role
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import open_store
uri, manifest, directory = sys.stdin.read().split("\\0")
open_store(StoreUri.parse(uri), Role.TRACKING).restore(from_json(manifest, StoreSnapshot), Path(directory))
"""


def _restore_elsewhere(store: Store, snapshot: StoreSnapshot, directory: Path, **environment: str) -> int:
    words = "\0".join([store.uri.reveal(), to_json(snapshot), str(directory)])
    child = subprocess.run(
        [sys.executable, "-c", _RESTORE],
        input=words.encode(),
        env={**os.environ, **environment},
        timeout=120,
        check=False,
    )
    return child.returncode


def test_restore_killed_anywhere_leaves_old_or_new_and_can_be_repeated(
    harness: StoreHarness, store: Store, directory: Path, tmp_path: Path
) -> None:
    snapshot = store.snapshot(directory)
    harness.execute(store, "DELETE FROM metrics WHERE key = 'one'")
    old = store.fingerprint()
    log = tmp_path / "effects"
    assert _restore_elsewhere(store, snapshot, directory, LIFTLOCK_EFFECTS_LOG=str(log)) == 0
    names = list(dict.fromkeys(log.read_text().splitlines()))
    assert names
    for point in [f"{side}:{name}" for name in names for side in ("before", "after")]:
        harness.execute(store, "DELETE FROM metrics WHERE key = 'one'")
        assert _restore_elsewhere(store, snapshot, directory, LIFTLOCK_CRASH_AT=point) == -signal.SIGKILL, point
        assert store.exists(), point
        now = store.fingerprint()
        assert now.differences(old) == () or now.differences(held(store, snapshot, directory)) == (), point
        store.restore(snapshot, directory)
        assert store.fingerprint().differences(held(store, snapshot, directory)) == (), point
        assert store.check_integrity() == (), point


# --- scratch, schema, rows -----------------------------------------------------------------------------------


def test_drop_refuses_what_scratch_did_not_name(store: Store) -> None:
    with pytest.raises(LiftlockError, match="scratch"):
        store.drop()
    assert store.exists()
    assert store.revision() == REVISION


def test_drop_is_idempotent_and_scratch_names_are_apart(store: Store, directory: Path) -> None:
    snapshot = store.snapshot(directory)
    one, two = store.scratch("one"), store.scratch("two")
    one.restore(snapshot, directory)
    assert (one.exists(), two.exists()) == (True, False)
    two.drop()
    one.drop()
    one.drop()
    assert not one.exists()


def test_a_missing_database_is_a_value_or_one_line(store: Store) -> None:
    gone = store.scratch("never-made")
    assert not gone.exists()
    for action in (gone.revision, gone.facts, gone.fingerprint, gone.schema_dump, gone.check_integrity):
        with pytest.raises(StoreError) as caught:
            action()
        assert "\n" not in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize(
    "change",
    [
        "CREATE INDEX extra ON params (value)",
        "CREATE TABLE extra (a INTEGER)",
        "ALTER TABLE runs ADD COLUMN extra INTEGER",
        "DROP INDEX index_metrics_run_uuid",
        "CREATE VIEW extra AS SELECT run_uuid FROM runs",
    ],
)
def test_schema_dump_shows_each_change_of_schema(harness: StoreHarness, store: Store, change: str) -> None:
    before = store.schema_dump()
    assert before == store.schema_dump()
    assert "remember_rename" in before
    harness.execute(store, change)
    assert store.schema_dump() != before


def test_schema_dump_does_not_depend_on_rows(harness: StoreHarness, store: Store) -> None:
    before = store.schema_dump()
    harness.execute(store, "DELETE FROM metrics")
    assert store.schema_dump() == before


def test_rows_stream_with_parameters(store: Store) -> None:
    found = store.rows("SELECT key, value FROM params WHERE run_uuid = :run AND key < :key ORDER BY key",
                       {"run": f"{0:032x}", "key": "p2"})  # fmt: skip
    assert [dict(row) for row in found] == [{"key": "p0", "value": ""}, {"key": "p1", "value": "None"}]
    assert [dict(row) for row in store.rows("SELECT 'a:b' AS x, 12 AS y")] == [{"x": "a:b", "y": 12}]


def test_rows_cannot_write(store: Store) -> None:
    before = store.fingerprint()
    with pytest.raises(StoreError):
        list(store.rows("DELETE FROM params"))
    assert store.fingerprint().differences(before) == ()


def test_nothing_of_ours_is_left(store: Store, directory: Path) -> None:
    before = store.schema_dump()
    tables = [table.name for table in store.facts().tables]
    store.snapshot(directory)
    store.fingerprint()
    assert store.schema_dump() == before
    assert [table.name for table in store.facts().tables] == tables
    assert not [name for name in tables if "liftlock" in name]


def test_every_engine_is_covered() -> None:
    assert set(HARNESSES) == {Engine.SQLITE, Engine.POSTGRESQL}
