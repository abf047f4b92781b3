"""What only PostgreSQL can do to an online upgrade: old snapshots, TRUNCATE, rights, lock queues, replica role."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest

from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.model.secret import Secret
from liftlock.stores.postgresql import PostgresqlStore
from liftlock.stores.postgresql_connect import session
from liftlock.stores.postgresql_live import PostgresqlLive
from liftlock.stores.postgresql_obstacles import shares_sessions
from tests.support.live import PREPARE, write
from tests.support.postgres import Harness

pytestmark = pytest.mark.xdist_group("store-postgresql")

NEW = f"INSERT INTO params VALUES ('fresh', 'v', '{1:032x}')"


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("live"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(harness: Harness, request: pytest.FixtureRequest) -> PostgresqlStore:
    made = harness.new_store(Role.TRACKING, "v" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12])
    for statement in PREPARE:
        harness.execute(made, statement)
    return made


@pytest.fixture
def blue(store: PostgresqlStore) -> PostgresqlLive:
    return PostgresqlLive(store)


def login(harness: Harness, store: PostgresqlStore, name: str) -> PostgresqlStore:
    """The same store with a login that has no rights yet, made new."""
    harness.server.execute(f"DROP ROLE IF EXISTS {name}")
    harness.server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw-{name}'")
    uri = harness.server.uri(store.uri.database, username=name, password=Secret(f"pw-{name}"))
    return PostgresqlStore(uri, Role.TRACKING)


def give_all_to(store: PostgresqlStore, owner: str) -> None:
    with psycopg.connect(store.uri.reveal()) as connection:
        for (statement,) in connection.execute(
            """SELECT format('ALTER TABLE %%s OWNER TO %%I', oid::regclass, %s::text) FROM pg_class
                WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace""",
            (owner,),
        ).fetchall():
            connection.execute(statement)


def changed(found: PostgresqlLive) -> dict[str, int]:
    with found.look() as view:
        return {name: len(keys) for name, keys in view.changed.items()}


# --- transactions with an old view -------------------------------------------------------------------------------


def test_a_transaction_older_than_capture_that_writes_later_is_logged(
    blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    with psycopg.connect(store.uri.reveal()) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM runs")
        blue.capture(patience=5)
        old.execute(NEW.encode())
    assert changed(blue) == {"params": 1}


def test_a_transaction_older_than_the_fence_that_writes_later_is_refused(
    blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    blue.capture()
    with psycopg.connect(store.uri.reveal()) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM params")
        with blue.fence("moved", seconds=60, patience=5):
            pass
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction, match="moved"):
            old.execute(NEW.encode())


def test_a_prepared_statement_meets_the_fence_and_its_end(blue: PostgresqlLive, store: PostgresqlStore) -> None:
    blue.capture()
    statement = "UPDATE tags SET value = 'x' WHERE key = 'none'"
    with psycopg.connect(store.uri.reveal(), autocommit=True) as client:
        for _ in range(8):
            client.execute(statement.encode(), prepare=True)
        blue.fence_for_good("moved")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            client.execute(statement.encode(), prepare=True)
        blue.unfence()
        client.execute(statement.encode(), prepare=True)


# --- the log -----------------------------------------------------------------------------------------------------


def test_truncate_marks_whole_tables_and_what_refers_to_them(blue: PostgresqlLive, store: PostgresqlStore) -> None:
    blue.capture()
    write(store, "TRUNCATE parents CASCADE")
    with blue.changes() as view:
        assert view.whole == {"parents", "children", "toys"}
        assert dict(view.changed) == {}
        token = view.token
    blue.consume(token)
    assert blue.backlog() == 0


def test_an_entry_that_was_moved_is_kept_rather_than_lost(harness: Harness, blue: PostgresqlLive) -> None:
    blue.capture()
    store = blue.store
    assert isinstance(store, PostgresqlStore)
    write(store, NEW.replace("fresh", "first"))
    with blue.changes() as view:
        blue.consume(view.token)
    write(store, NEW.replace("fresh", "second"), "UPDATE params SET value = 'w' WHERE key = 'second'")
    with blue.changes() as view:
        token = view.token
    database = store.uri.database
    with psycopg.connect(store.uri.reveal()) as connection:
        (log,) = next(connection.execute("SELECT 'liftlock.log_' || 'params'::regclass::oid::text"))
    harness.server.execute(f"VACUUM FULL {log}", database)
    write(store, NEW.replace("fresh", "third"))
    blue.consume(token)
    with blue.look() as view:
        assert ("third", f"{1:032x}") in view.changed["params"]


def test_a_place_that_was_used_again_is_another_entry(harness: Harness, blue: PostgresqlLive) -> None:
    blue.capture()
    store = blue.store
    assert isinstance(store, PostgresqlStore)
    write(store, NEW.replace("fresh", "first"))
    with blue.changes() as view:
        token = view.token
    blue.consume(token)
    with psycopg.connect(store.uri.reveal(), autocommit=True) as connection:
        ((log,),) = connection.execute("SELECT 'liftlock.log_' || 'params'::regclass::oid::text")
        connection.execute(f"VACUUM (TRUNCATE off) {log}".encode())
        write(store, NEW.replace("fresh", "second"))
        ((place,),) = connection.execute(f"SELECT ctid::text FROM {log}".encode())
    assert place in str(token)
    blue.consume(token)
    assert changed(blue) == {"params": 1}


def test_an_update_logs_keys_that_differ_in_a_bit_only(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    """-0 equals 0 to an index, and so may other spellings of a key; the row that is written back must be this one."""
    blue.capture()
    write(store, f"INSERT INTO metrics VALUES ('zero', '-0', 1, '{1:032x}', 1, false)")
    with blue.changes() as view:
        blue.consume(view.token)
    write(store, "UPDATE metrics SET value = 0 WHERE key = 'zero'")
    with blue.changes() as view:
        assert {key[4] for key in view.changed["metrics"]} == {"-0", "0"}
        assert [row[1] for row in view.rows("metrics", ("key",), [("zero",)])] == ["0"]
        blue.consume(view.token)
    write(store, "UPDATE metrics SET value = 0 WHERE key = 'zero'", "UPDATE tags SET value = value")
    with blue.changes() as view:
        assert {name: len(keys) for name, keys in view.changed.items()} == {"metrics": 1, "tags": 6}
        assert blue.backlog() == 7


def test_a_trigger_that_somebody_switched_off_ends_the_capture(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    blue.capture()
    harness.execute(store, "ALTER TABLE tags DISABLE TRIGGER liftlock_update")
    assert not blue.captured()
    with pytest.raises(StoreError, match="captured"), blue.changes():
        pass
    blue.release()
    assert "liftlock" not in str(list(store.rows("SELECT tgname::text FROM pg_trigger")))


def test_writers_need_no_right_on_the_log(harness: Harness, blue: PostgresqlLive, store: PostgresqlStore) -> None:
    clerk = login(harness, store, "live_clerk")
    harness.server.execute("GRANT SELECT, INSERT ON params TO live_clerk", store.uri.database)
    blue.capture()
    write(clerk, NEW)
    assert changed(blue) == {"params": 1}
    with blue.fence("moved", seconds=60, patience=5):
        pass
    with psycopg.connect(clerk.uri.reveal()) as connection, pytest.raises(psycopg.Error, match="moved"):
        connection.execute(NEW.replace("fresh", "second").encode())


def test_values_of_every_kind_come_back_as_they_were(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    harness.execute(
        store,
        """CREATE TYPE mood AS ENUM ('so so', 'fine');
        CREATE TABLE kinds (
          id integer GENERATED ALWAYS AS IDENTITY, small char(5) DEFAULT 'ab', number numeric, real float4, big float8,
          plain json DEFAULT '{"a":  1}', packed jsonb, raw bytea, moment timestamptz DEFAULT now(), lapse interval,
          words text[], feeling mood, PRIMARY KEY (id, small));
        INSERT INTO kinds (number, real, big, plain, packed, raw, moment, lapse, words, feeling) VALUES
          (1.50, 0.1, 'NaN', '{"b": 1,  "a": "\\u0001"}', '{"a": 1}', '\\x00ff5c', '2024-02-29 12:00:00.000001+01',
           '1 day 2.5 s', ARRAY['a,b', NULL, '"\\'], 'so so'),
          ('NaN', 'Infinity', '-0', 'null', 'null', '', 'infinity', '-1 mon', '{}', NULL)""",
    )
    shape = blue.shapes()["kinds"]
    assert shape.defaults["plain"] == '{"a":  1}'
    assert shape.defaults["small"] == "ab"
    assert not {"id", "moment"} & set(shape.defaults)
    before = store.fingerprint()
    text = list(store.rows("SELECT k::text FROM kinds k ORDER BY id"))
    with blue.look() as view:
        rows = view.between("kinds", None, None)
        assert view.rows("kinds", shape.key, [("2", "ab")]) == rows[1:]
    with blue.applying() as target:
        assert target.delete("kinds", shape.key, [("1", "ab"), ("2", "ab")]) == 2
        target.insert("kinds", shape.columns, rows)
    assert list(store.rows("SELECT k::text FROM kinds k ORDER BY id")) == text
    assert before.differences(store.fingerprint()) == ()


def test_counters_that_gave_nothing_out_are_no_counters(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    harness.execute(store, "CREATE SEQUENCE fresh")
    assert "public.fresh" not in blue.sequences()
    blue.advance({"public.fresh": 1})
    assert blue.sequences()["public.fresh"] == 1
    blue.advance({"public.fresh": 1})
    with psycopg.connect(store.uri.reveal()) as connection:
        assert list(connection.execute("SELECT nextval('fresh')")) == [(2,)]


# --- locks ---------------------------------------------------------------------------------------------------------


def test_nobody_waits_long_behind_us(blue: PostgresqlLive, store: PostgresqlStore) -> None:
    """A waiting table lock stops all who come after it; so it must give up soon, again and again."""
    slowest = 0.0
    stop = threading.Event()

    def work() -> None:
        nonlocal slowest
        while not stop.is_set():
            started = time.monotonic()
            client.execute("UPDATE blobs SET data = data WHERE name = 'no such row'")
            slowest = max(slowest, time.monotonic() - started)

    with (
        psycopg.connect(store.uri.reveal(), autocommit=True) as client,
        psycopg.connect(store.uri.reveal()) as holder,
    ):
        holder.execute("UPDATE blobs SET data = data")
        thread = threading.Thread(target=work)
        thread.start()
        try:
            with pytest.raises(StoreError, match=f"session {holder.info.backend_pid} of postgres") as caught:
                blue.capture(patience=2.5)
        finally:
            stop.set()
            thread.join(30)
    assert caught.value.retryable
    assert 0.2 < slowest < 1.5


def test_a_fence_whose_maker_froze_lets_people_write_again(blue: PostgresqlLive, store: PostgresqlStore) -> None:
    blue.capture()
    with pytest.raises(StoreError), blue.fence("moved", seconds=0.6, patience=5):
        time.sleep(1.2)  # as if stopped, with all locks held
        write(store, NEW)
    assert not blue.fenced()
    assert changed(blue) == {"params": 1}


# --- obstacles -----------------------------------------------------------------------------------------------------


def test_an_owner_who_is_no_superuser_is_told_the_very_grant(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore
) -> None:
    owner = PostgresqlLive(login(harness, store, "live_owner"))
    rights = owner.obstacles(applying=False)
    assert any("GRANT CREATE ON DATABASE" in line for line in rights)
    assert any("does not own" in line for line in rights)
    with pytest.raises(StoreError, match="cannot be captured"):
        owner.capture()
    give_all_to(store, "live_owner")
    for line in rights:
        if "GRANT CREATE" in line:
            harness.server.execute(line.partition(": ")[2], store.uri.database)
    assert owner.obstacles(applying=False) == ()
    owner.capture()
    write(owner.store, NEW)
    assert changed(owner) == {"params": 1}
    (line,) = owner.obstacles(applying=True)
    with pytest.raises(StoreError, match="session_replication_role"), owner.applying():
        pass
    harness.server.execute(line.partition("run: ")[2])
    try:
        assert owner.obstacles(applying=True) == ()
        with owner.applying() as target:
            assert target.delete("params", ("key",), [("fresh",)]) == 1
        assert changed(owner) == {"params": 1}
    finally:
        harness.server.execute("REVOKE SET ON PARAMETER session_replication_role FROM live_owner")
    owner.release()
    assert blue.captured() is False


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE SCHEMA liftlock", "not liftlock's"),
        ("CREATE TABLE pieces (a int PRIMARY KEY) PARTITION BY RANGE (a)", "public.pieces"),
        ("ALTER TABLE registered_models ENABLE ALWAYS TRIGGER remember_rename", "remember_rename"),
        ("ALTER DATABASE {} SET default_transaction_read_only = on", "read-only"),
        (
            "CREATE SUBSCRIPTION {} CONNECTION 'dbname=none' PUBLICATION p WITH (connect = false, slot_name = NONE)",
            "subscribes",
        ),
    ],
)
def test_each_obstacle_is_seen(
    harness: Harness, blue: PostgresqlLive, store: PostgresqlStore, statement: str, words: str
) -> None:
    assert blue.obstacles(applying=True) == ()
    harness.server.execute(statement.format(store.uri.database), store.uri.database)
    try:
        (line,) = blue.obstacles(applying=True)
        assert words in line
    finally:
        if "SUBSCRIPTION" in statement:
            harness.server.execute(f"DROP SUBSCRIPTION {store.uri.database}", store.uri.database)


def test_a_pooler_that_mixes_sessions_is_seen(store: PostgresqlStore) -> None:
    with session(store.uri) as one, session(store.uri) as other:
        assert not shares_sessions(one, other)
        assert shares_sessions(one, one)  # what two clients of such a pooler get
