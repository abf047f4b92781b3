"""What every database engine must do while people keep writing, in one suite. Engines differ only in their harness."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from liftlock.errors import StoreError
from liftlock.model.uri import Engine
from liftlock.stores.interface import Store
from liftlock.stores.live import Key, Live, Row
from liftlock.stores.opening import live
from tests.support.harness import HARNESSES, StoreHarness
from tests.support.live import (
    WRITES,
    Refused,
    apply,
    converge,
    equal,
    follow,
    logged,
    move_there_and_back,
    ours,
    prepare,
    scribbling,
    taken,
    write,
    writer,
)

LABEL = "moved to the new server (it's done)"
RUN = f"{1:032x}"
NEW = f"INSERT INTO params VALUES ('fresh', 'v', '{RUN}')"


@pytest.fixture
def store(harness: StoreHarness, store: Store) -> Store:
    prepare(harness, store)
    return store


@pytest.fixture
def blue(store: Store) -> Live:
    return live(store)


Copy = Callable[[Live], Live]


@pytest.fixture
def copied() -> Iterator[Copy]:
    made: list[Store] = []

    def copy(source: Live) -> Live:
        target = source.store.scratch(f"green{len(made)}")
        made.append(target)
        source.copy_to(target)
        return live(target)

    yield copy
    for target in made:
        target.drop()


# --- shapes and obstacles ------------------------------------------------------------------------------------


def test_shapes_tell_columns_keys_defaults_and_references(blue: Live) -> None:
    shapes = blue.shapes()
    assert "alembic_version" not in shapes
    assert not [name for name in shapes if name.startswith(("sqlite_", "pg_"))]
    assert shapes["spans"].columns == ("trace_id", "span_id", "start_ns", "end_ns", "content")
    assert shapes["metrics"].key == ("key", "timestamp", "step", "run_uuid", "value", "is_nan")
    assert shapes["params"].references == ((("run_uuid",), "runs", ("run_uuid",)),)
    assert shapes["toys"].references == ((("child", "n"), "children", ("name", "n")),)
    assert set(shapes["metrics"].defaults) == set(shapes["metrics"].columns)
    assert shapes["metrics"].defaults["key"] is None


def test_a_default_is_what_a_new_row_holds(blue: Live, store: Store) -> None:
    write(store, f"INSERT INTO metrics (key, value, timestamp, run_uuid) VALUES ('bare', 1.5, 5, '{RUN}')")
    write(store, "INSERT INTO children (name) VALUES ('d')")
    shapes = blue.shapes()
    for table, columns in (("metrics", ("step", "is_nan")), ("children", ("n",))):
        shape = shapes[table]
        with blue.look() as view:
            rows = view.rows(table, shape.key[:1], [("bare" if table == "metrics" else "d",)])
        (row,) = rows
        for column in columns:
            value = row[shape.columns.index(column)]
            assert (value, type(value)) == (shape.defaults[column], type(shape.defaults[column]))


def test_nothing_stands_in_the_way_of_a_sound_database(blue: Live) -> None:
    assert blue.obstacles(applying=False) == ()
    assert blue.obstacles(applying=True) == ()


def test_a_table_without_a_key_is_an_obstacle(harness: StoreHarness, blue: Live, store: Store) -> None:
    harness.execute(store, "CREATE TABLE loose (a INTEGER)")
    assert ["loose" in line for line in blue.obstacles(applying=False)] == [True]
    assert ["loose" in line for line in blue.obstacles(applying=True)] == [True]
    with pytest.raises(StoreError, match="loose"):
        blue.capture()
    assert not blue.captured()
    assert ours(store) == []


# --- capture -------------------------------------------------------------------------------------------------


def test_capture_is_hidden_and_release_leaves_no_trace(blue: Live, store: Store, tmp_path: Path) -> None:
    schema, columns, print_ = store.schema_dump(), store.columns(), store.fingerprint()
    tables = [entry.name for entry in store.facts().tables]
    blue.capture()
    assert blue.captured()
    assert ours(store)
    store.tidy()  # removes what a killed copy left, and nothing else
    assert blue.captured()
    assert (store.schema_dump(), store.columns()) == (schema, columns)
    assert [entry.name for entry in store.facts().tables] == tables
    assert store.fingerprint().differences(print_) == ()
    assert "liftlock" not in repr(blue.shapes())
    directory = tmp_path / "snapshot"
    directory.mkdir(mode=0o700)
    snapshot = store.snapshot(directory)
    assert blue.captured()
    again = store.scratch("again")
    again.restore(snapshot, directory)
    try:
        assert again.schema_dump() == schema
        assert ours(again) == []
    finally:
        again.drop()
    for _ in range(2):
        blue.release()
        assert not blue.captured()
        assert ours(store) == []
    assert store.schema_dump() == schema


def test_capture_again_keeps_the_log(blue: Live, store: Store) -> None:
    blue.capture()
    write(store, NEW)
    blue.capture()
    assert logged(blue) == {"params": 1}


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE brand_new (a INTEGER NOT NULL PRIMARY KEY)",
        "ALTER TABLE runs ADD COLUMN extra INTEGER",
        "DROP TABLE toys",
    ],
)
def test_a_changed_schema_is_noticed(harness: StoreHarness, blue: Live, store: Store, change: str) -> None:
    blue.capture()
    harness.execute(store, change)
    assert not blue.captured()
    with pytest.raises(StoreError), blue.changes():
        pass
    with pytest.raises(StoreError), blue.fence(LABEL, seconds=5, patience=1):
        pass
    assert not blue.fenced()
    blue.capture()  # an incomplete one is made anew
    assert blue.captured()
    write(store, "UPDATE runs SET name = 'x'")
    assert logged(blue) == {"runs": 6}


def test_what_is_rolled_back_is_not_logged(blue: Live, store: Store) -> None:
    blue.capture()
    with writer(store) as client:
        client.execute(NEW)
        client.rollback()
    assert (blue.backlog(), logged(blue)) == (0, {})


def test_capture_waits_for_writers_from_before_it(blue: Live, store: Store, copied: Copy) -> None:
    """I1: what they write must be in the log or in what is copied afterwards."""
    with writer(store) as client:
        client.execute(NEW)
        with pytest.raises(StoreError) as caught:
            blue.capture(patience=0.3)
        assert caught.value.retryable
        thread = threading.Thread(target=blue.capture)
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive()
        client.commit()
        thread.join(30)
    assert blue.captured()
    green = copied(blue)
    converge(blue, green)
    assert equal(store, green.store) == ()


# --- following -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITES)
def test_following_what_was_written(blue: Live, store: Store, copied: Copy, name: str) -> None:
    blue.capture()
    green = copied(blue)
    assert equal(store, green.store) == ()
    write(store, *WRITES[name])
    assert equal(store, green.store) != () or name == "key and back"
    assert blue.backlog() > 0
    with blue.changes() as view:
        delta = taken(blue, view)
        token = view.token
    for _ in range(2):  # a repetition changes nothing
        apply(green, delta)
        assert equal(store, green.store) == ()
    blue.consume(token)
    assert blue.backlog() == 0
    assert green.store.check_integrity() == ()


def test_an_emptied_table_is_followed(harness: StoreHarness, blue: Live, store: Store, copied: Copy) -> None:
    blue.capture()
    green = copied(blue)
    write(store, "DELETE FROM metrics" if harness.engine is Engine.SQLITE else "TRUNCATE metrics")
    write(store, f"INSERT INTO metrics (key, value, timestamp, run_uuid) VALUES ('last', 1.5, 5, '{RUN}')")
    converge(blue, green)
    assert equal(store, green.store) == ()
    assert len(list(green.store.rows("SELECT 1 AS one FROM metrics"))) == 1


def test_all_changes_at_once_in_small_portions(blue: Live, store: Store, copied: Copy) -> None:
    blue.capture()
    green = copied(blue)
    for name in WRITES:
        if name not in ("parent renamed", "parent deleted"):  # others speak of that parent
            write(store, *WRITES[name])
    write(store, *WRITES["parent renamed"])
    before = blue.backlog()
    follow(blue, green, limit=7)
    assert 0 < before - blue.backlog() <= 7
    converge(blue, green, limit=50)
    assert equal(store, green.store) == ()


def test_a_token_names_what_was_seen_and_nothing_else(blue: Live, store: Store) -> None:
    """I3, I4: consuming twice, or late, never takes what came later."""
    blue.capture()
    write(store, NEW)
    with blue.changes() as view:
        assert {name: len(keys) for name, keys in view.changed.items()} == {"params": 1}
        token = view.token
    write(store, "UPDATE tags SET value = 'later'")
    blue.consume(token)
    assert logged(blue) == {"tags": 6}
    with blue.changes() as view:
        rest = view.token
    blue.consume(rest)
    assert (blue.backlog(), logged(blue)) == (0, {})
    write(store, *WRITES["update"])
    for old in (token, rest):
        blue.consume(old)
        assert logged(blue) == {"params": 6}


def test_an_empty_log_gives_an_empty_view(blue: Live) -> None:
    blue.capture()
    with blue.changes() as view:
        assert (dict(view.changed), view.whole) == ({}, frozenset())
        token = view.token
    blue.consume(token)
    assert blue.backlog() == 0


def test_late_commits_are_not_lost(harness: StoreHarness, blue: Live, store: Store, copied: Copy) -> None:
    """I3: a transaction that took its place in the log early and commits late."""
    blue.capture()
    green = copied(blue)
    with writer(store) as early:
        early.execute(NEW)
        if harness.engine is Engine.SQLITE:  # has one writer at a time
            early.commit()
        else:
            write(store, "UPDATE tags SET value = 'overtaken'")
        follow(blue, green)
        if harness.engine is not Engine.SQLITE:
            early.commit()
    write(store, *WRITES["update"])
    converge(blue, green)
    assert equal(store, green.store) == ()


def test_log_and_rows_are_of_one_moment(blue: Live, store: Store) -> None:
    """I2. SQLite's writer has to wait for the reader; PostgreSQL's does not."""
    blue.capture()
    write(store, NEW)
    shape = blue.shapes()["params"]
    value = shape.columns.index("value")
    thread = threading.Thread(target=write, args=(store, "UPDATE params SET value = 'other' WHERE key = 'fresh'"))
    with blue.changes() as view:
        (key,) = view.changed["params"]
        thread.start()
        time.sleep(0.3)
        (row,) = view.rows("params", shape.key, [key])
        assert row[value] == "v"
        token = view.token
    thread.join(30)
    blue.consume(token)
    with blue.changes() as view:
        (row,) = view.rows("params", shape.key, view.changed["params"])
        assert row[value] == "other"


def test_copy_under_writers_and_follow_until_equal(blue: Live, store: Store, copied: Copy) -> None:
    blue.capture()
    schema = store.schema_dump()
    with scribbling(store, seed=3, clients=2):
        time.sleep(0.2)
        green = copied(blue)
        assert green.store.schema_dump() == schema
        assert ours(green.store) == []
        for limit in (5, 50, 500):
            follow(blue, green, limit)
            time.sleep(0.1)
        with blue.fence(LABEL, seconds=30, patience=10) as view:
            apply(green, taken(blue, view))
        assert blue.fenced()
        assert equal(store, green.store) == ()
        blue.fence_for_good(LABEL)
        time.sleep(0.1)
    assert equal(store, green.store) == ()
    assert green.store.check_integrity() == ()
    blue.release()
    assert store.schema_dump() == schema


# --- views ---------------------------------------------------------------------------------------------------


def test_rows_by_any_columns(blue: Live) -> None:
    with blue.look() as view:
        assert len(view.rows("metrics", ("run_uuid",), [(RUN,), (f"{2:032x}",), ("none",), (RUN,)])) == 56
        runs = [(f"{n:032x}",) for n in range(60)]
        assert len(view.rows("params", ("run_uuid",), runs)) == 48
        assert view.rows("params", ("run_uuid",), []) == []
        nulls = view.rows("tags", ("value",), [(None,)])
        assert [row[1] for row in nulls] == [None]
        pairs = [(key, run) for (run,) in runs for key in ("p0", "p3")]
        assert len(view.rows("params", ("key", "run_uuid"), pairs)) == 12
        with pytest.raises(StoreError, match="nope"):
            view.rows("nope", ("a",), [(1,)])


def test_paging_through_a_table_in_the_order_of_its_key(blue: Live) -> None:
    shapes = blue.shapes()
    with blue.look() as view:
        for name in ("metrics", "params", "experiments", "parents", "children", "spans"):
            shape = shapes[name]
            places = [shape.columns.index(column) for column in shape.key]
            found: list[Row] = []
            key: Key | None = None
            bounds: list[Key | None] = [None]
            while rows := view.after(name, key, 7):
                assert len(rows) <= 7
                found.extend(rows)
                key = tuple(rows[-1][place] for place in places)
                bounds.append(key)
            assert len(found) == len(set(found)) == len(view.between(name, None, None))
            again = [
                row
                for low, high in zip(bounds, [*bounds[1:], None], strict=True)
                for row in view.between(name, low, high)
            ]
            assert sorted(map(repr, again)) == sorted(map(repr, found))
            assert view.after(name, key, 7) == []


def test_look_works_without_capture(blue: Live) -> None:
    with blue.look() as view:
        assert (dict(view.changed), view.whole) == ({}, frozenset())
        assert len(view.between("parents", None, None)) == 4


# --- applying ------------------------------------------------------------------------------------------------


def test_values_come_back_as_they_were(blue: Live, store: Store) -> None:
    shapes = blue.shapes()
    before = store.fingerprint()
    for name, shape in shapes.items():
        with blue.look() as view:
            rows = view.between(name, None, None)
        with blue.applying() as target:
            target.clear(name)
            assert target.rows(name, shape.key, []) == []
            target.insert(name, shape.columns, rows)
    assert before.differences(store.fingerprint()) == ()


def test_applying_is_all_or_nothing(blue: Live, store: Store) -> None:
    before = store.fingerprint()
    with pytest.raises(RuntimeError), blue.applying() as target:
        target.clear("params")
        raise RuntimeError("stop")
    assert before.differences(store.fingerprint()) == ()
    shape = blue.shapes()["parents"]
    with pytest.raises(StoreError) as caught, blue.applying() as target:
        target.clear("params")
        target.insert("parents", shape.columns, [("a", None)])
    assert "\n" not in caught.value.message
    assert before.differences(store.fingerprint()) == ()
    with pytest.raises(StoreError), blue.applying() as target:  # who catches it cannot save the transaction
        target.clear("params")
        with pytest.raises(StoreError):
            target.insert("parents", shape.columns, [("a", None)])
    assert before.differences(store.fingerprint()) == ()


def test_deleting_counts_and_null_equals_null(blue: Live, store: Store) -> None:
    with blue.applying() as target:
        assert target.delete("params", ("run_uuid",), [(RUN,), ("none",), (RUN,)]) == 8
        assert target.delete("tags", ("value",), [(None,)]) == 1
        assert target.delete("tags", ("value",), []) == 0
        assert len(target.rows("params", ("key",), [("p1",)])) == 5
    assert len(list(store.rows("SELECT 1 AS one FROM params"))) == 40


def test_foreign_keys_and_triggers_do_not_act_on_what_is_applied(blue: Live, store: Store) -> None:
    shapes = blue.shapes()
    with blue.applying() as target:
        target.delete("parents", ("name",), [("a",)])
        model = shapes["registered_models"]
        rows = target.rows("registered_models", ("name",), [("model",)])
        target.delete("registered_models", ("name",), [("model",)])
        target.insert("registered_models", model.columns, [("moved", *rows[0][1:])])
    assert len(list(store.rows("SELECT 1 AS one FROM children WHERE name = 'a'"))) == 2
    assert len(list(store.rows("SELECT 1 AS one FROM renames"))) == 0
    # And afterwards they do again.
    write(store, "UPDATE registered_models SET name = 'once more' WHERE name = 'modèle'")
    assert len(list(store.rows("SELECT 1 AS one FROM renames"))) == 1
    with writer(store) as client, pytest.raises(Refused):
        client.execute("INSERT INTO children VALUES ('nobody', 1, NULL)")
        client.commit()


def test_rows_that_the_schema_cannot_hold_are_named_and_the_others_kept(blue: Live, store: Store) -> None:
    shape = blue.shapes()["experiments"]
    with blue.look() as view:
        (model,) = view.rows("experiments", ("name",), [("Default",)])

    def row(number: int, name: str | None, stage: str) -> tuple[object, ...]:
        values = dict(zip(shape.columns, model, strict=True))
        number_like = type(values["experiment_id"])(number)
        values.update(experiment_id=number_like, name=name, lifecycle_stage=stage)
        return tuple(values.values())

    given = [
        row(11, "good", "active"),
        row(12, None, "active"),
        row(13, "bad stage", "gone"),
        row(14, "Default", "active"),
        row(15, "also good", "deleted"),
    ]
    with blue.applying() as target:
        refused = target.refused("experiments", shape.columns, given)
        assert target.refused("experiments", shape.columns, [row(16, "fine", "active")]) == []
    assert [found for found, _ in refused] == given[1:4]
    assert all(reason and "\n" not in reason for _, reason in refused)
    names = [found["name"] for found in store.rows("SELECT name FROM experiments WHERE experiment_id > 10 ORDER BY 1")]
    assert names == ["also good", "fine", "good"]


def test_what_is_applied_is_not_captured(blue: Live, store: Store) -> None:
    """I10: else two databases that follow each other would echo for ever."""
    blue.capture()
    shape = blue.shapes()["parents"]
    with blue.applying() as target:
        target.delete("parents", ("name",), [("a",)])
        target.insert("parents", shape.columns, [("applied", None)])
        target.clear("toys")
        assert target.refused("parents", shape.columns, [("more", None)]) == []
    assert (blue.backlog(), logged(blue)) == (0, {})
    write(store, "UPDATE parents SET rank = 9 WHERE name = 'applied'")
    assert logged(blue) == {"parents": 1}


# --- fence ---------------------------------------------------------------------------------------------------

REFUSED = (
    NEW,
    "UPDATE params SET value = 'x'",
    "DELETE FROM params",
    "DELETE FROM parents WHERE name = 'a'",
    "UPDATE alembic_version SET version_num = 'x'",
    "INSERT INTO tags VALUES ('mlflow.note', 'n', '00000000000000000000000000000000') "
    "ON CONFLICT (key, run_uuid) DO UPDATE SET value = 'n'",
)


def refuses(store: Store, *statements: str) -> None:
    for statement in statements:
        with pytest.raises(Refused) as caught:
            write(store, statement)
        assert LABEL in str(caught.value)


def test_a_fence_refuses_writes_and_says_why(harness: StoreHarness, blue: Live, store: Store) -> None:
    blue.capture()
    write(store, NEW.replace("fresh", "before"))
    before = store.fingerprint()
    with blue.fence(LABEL, seconds=60, patience=5) as view:
        assert {name: len(keys) for name, keys in view.changed.items()} == {"params": 1}
        assert len(view.rows("params", ("key",), [("before",)])) == 1
    assert blue.fenced()
    refuses(store, *REFUSED)
    if harness.engine is Engine.POSTGRESQL:
        refuses(store, "TRUNCATE metrics")
    assert before.differences(store.fingerprint()) == ()
    assert len(list(store.rows("SELECT 1 AS one FROM params WHERE key = 'before'"))) == 1  # reads flow
    assert logged(blue) == {"params": 1}
    blue.unfence()
    blue.unfence()
    assert not blue.fenced()
    assert blue.captured()
    write(store, NEW)


def test_a_fence_falls_by_itself_unless_it_was_made_to_stay(blue: Live, store: Store) -> None:
    blue.capture()
    with blue.fence(LABEL, seconds=3, patience=5):
        pass
    refuses(store, NEW)
    end = time.monotonic() + 30
    while blue.fenced() and time.monotonic() < end:
        time.sleep(0.05)
    assert not blue.fenced()
    write(store, NEW)
    for _ in range(2):
        blue.fence_for_good(LABEL)  # also where the first one has fallen
    assert blue.fenced()
    refuses(store, "DELETE FROM params")
    with blue.fence(LABEL, seconds=3, patience=5) as view:
        assert view.changed.keys() == {"params"}
    blue.fence_for_good(LABEL)
    time.sleep(3.1)
    assert blue.fenced()
    refuses(store, "DELETE FROM params")
    blue.release()
    assert not blue.fenced()
    assert ours(store) == []
    write(store, "DELETE FROM params")


def test_a_fence_whose_work_fails_was_never_there(blue: Live, store: Store) -> None:
    blue.capture()
    with pytest.raises(RuntimeError), blue.fence(LABEL, seconds=60, patience=5):
        raise RuntimeError("stop")
    assert not blue.fenced()
    write(store, NEW)
    assert logged(blue) == {"params": 1}


def test_writers_who_wait_while_the_fence_goes_up_are_refused(blue: Live, store: Store) -> None:
    """I9: a lock alone would let them commit once it is gone."""
    blue.capture()
    said: list[str] = []

    def late(statement: str) -> None:
        try:
            write(store, statement)
            said.append("committed")
        except Refused as error:
            said.append(str(error))

    before = store.fingerprint()
    threads = [threading.Thread(target=late, args=(statement,)) for statement in REFUSED[:3]]
    with blue.fence(LABEL, seconds=60, patience=5):
        for thread in threads:
            thread.start()
        time.sleep(0.4)
        assert said == []
    for thread in threads:
        thread.join(30)
    assert len(said) == 3
    assert all(LABEL in line for line in said), said
    assert before.differences(store.fingerprint()) == ()


def test_a_fence_waits_for_writers_only_so_long(blue: Live, store: Store) -> None:
    blue.capture()
    with writer(store) as client:
        client.execute(NEW)
        started = time.monotonic()
        with pytest.raises(StoreError) as caught, blue.fence(LABEL, seconds=60, patience=0.3):
            pass
        assert time.monotonic() - started < 10
        assert caught.value.retryable
        client.commit()
    assert not blue.fenced()
    with blue.fence(LABEL, seconds=60, patience=5) as view:
        assert view.changed.keys() == {"params"}


def test_what_is_applied_passes_the_fence(blue: Live, store: Store) -> None:
    """The way back: the old database stays fenced, and follows the new one."""
    blue.capture()
    blue.fence_for_good(LABEL)
    shape = blue.shapes()["parents"]
    with blue.applying() as target:
        target.delete("parents", ("name",), [("a",)])
        target.insert("parents", shape.columns, [("applied", None)])
    assert {row["name"] for row in store.rows("SELECT name FROM parents")} == {"applied", "b", "c", "d"}
    assert blue.backlog() == 0
    refuses(store, *REFUSED[:3])


# --- counters ------------------------------------------------------------------------------------------------


def test_counters_go_on_where_they_were(blue: Live, store: Store, copied: Copy) -> None:
    """I8: rows alone do not tell: what was deleted must not be given out again."""
    blue.capture()
    green = copied(blue)
    write(store, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('gone', 'active')")
    write(store, "DELETE FROM experiments WHERE name = 'gone'")
    converge(blue, green)
    counters = blue.sequences()
    assert list(counters.values()) == [4]
    assert green.sequences() == dict.fromkeys(counters, 3)
    green.advance({**counters, "nothing_of_that_name": 99})
    green.advance(dict.fromkeys(counters, 1))  # never backwards
    assert green.sequences() == counters
    write(green.store, "INSERT INTO experiments (name, lifecycle_stage) VALUES ('next', 'active')")
    assert [row["experiment_id"] for row in green.store.rows("SELECT max(experiment_id) AS experiment_id "
                                                             "FROM experiments")] == [5]  # fmt: skip
    green.advance(dict.fromkeys(counters, 40))
    assert set(green.sequences().values()) == {40}


# --- there and back, and killed anywhere -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 2])
def test_moved_there_and_back_while_others_write(store: Store, seed: int) -> None:
    move_there_and_back(store, live, Random(seed))


# One process does every upgrade in a fork of its own, so that Python starts once.
_UPGRADES = """
import os, sys, traceback
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import live, open_store
from tests.support.live import apply, converge, straight, taken

def upgrade(uri):
    blue = live(open_store(StoreUri.parse(uri), Role.TRACKING))
    target = blue.store.scratch("green")
    target.drop()
    blue.capture()
    blue.copy_to(target)
    green = live(target)
    assert not blue.transfer(green, [each for each in straight(blue) if each.table != "tags"], view=1, seconds=1).wrong
    converge(blue, green, limit=4)
    with blue.fence("moved", seconds=60, patience=20) as view:
        apply(green, taken(blue, view))
        token = view.token
    green.advance(blue.sequences())
    blue.consume(token)
    blue.fence_for_good("moved")
    green.capture()
    green.release()
    blue.unfence()
    blue.release()

uri = sys.stdin.readline().strip()
live(open_store(StoreUri.parse(uri), Role.TRACKING))
for line in sys.stdin:
    name, _, value = line.rstrip("\\n").partition("=")
    pid = os.fork()
    if not pid:
        if name:
            os.environ[name] = value
        try:
            upgrade(uri)
            os._exit(0)
        finally:
            traceback.print_exc()
            os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Upgrades:
    def __init__(self, store: Store) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", _UPGRADES],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self._say(store.uri.reveal())

    def __enter__(self) -> Upgrades:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.communicate(timeout=60)

    def _say(self, line: str) -> None:
        assert self._child.stdin
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def run(self, **environment: str) -> int:
        self._say("=".join(*environment.items()) if environment else "")
        assert self._child.stdout
        return int(self._child.stdout.readline())


def _killed_everywhere(store: Store, log: Path, together: int) -> None:
    """Kill at every side effect; after so many of them, let it finish, and everything is as it should be."""
    schema = store.schema_dump()
    green = store.scratch("green")
    try:
        with Upgrades(store) as upgrades:
            write(store, *WRITES["to NULL"])
            assert upgrades.run(LIFTLOCK_EFFECTS_LOG=str(log)) == 0
            names = list(dict.fromkeys(log.read_text().splitlines()))
            points = [f"{side}:{name}" for name in names for side in ("before", "after")]
            assert len(points) >= 14, names
            for start in range(0, len(points), together):
                some = points[start : start + together]
                for number, point in enumerate(some, start):  # each starts from what the one before left
                    write(store, f"INSERT INTO params VALUES ('n{number}', 'v', '{RUN}')")
                    assert upgrades.run(LIFTLOCK_CRASH_AT=point) == -signal.SIGKILL, point
                    live(store).unfence()
                write(store, f"UPDATE params SET key = 'm{start}' WHERE key = 'n{start}'")
                assert upgrades.run() == 0, some
                assert equal(store, green) == (), some
                assert store.schema_dump() == green.schema_dump() == schema, some
                assert ours(store) == ours(green) == [], some
    finally:
        green.drop()


def test_killed_anywhere_and_repeated_ends_alike(store: Store, tmp_path: Path) -> None:
    _killed_everywhere(store, tmp_path / "effects", 10)


@pytest.mark.soak
def test_killed_anywhere_and_repeated_at_once_ends_alike(store: Store, tmp_path: Path) -> None:
    _killed_everywhere(store, tmp_path / "effects", 1)


def test_every_engine_is_covered() -> None:
    assert set(HARNESSES) == {Engine.SQLITE, Engine.POSTGRESQL}
