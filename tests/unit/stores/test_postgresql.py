"""PostgreSQL: logins, rights, servers that are away, and databases that others use too."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from liftlock.errors import LiftlockError, Refused, StoreError
from liftlock.model.codec import to_json
from liftlock.model.deployment import Role
from liftlock.model.secret import Secret
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_indexes, postgresql_load, postgresql_restore
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql import PostgresqlStore
from liftlock.stores.postgresql_connect import bind, parameters
from liftlock.stores.postgresql_database import beside
from tests.support.mlflow_schema import REVISION
from tests.support.postgres import Harness, held_open
from tests.support.snapshots import held

pytestmark = pytest.mark.xdist_group("store-postgresql")


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("engine"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store(harness: Harness, request: pytest.FixtureRequest) -> PostgresqlStore:
    name = "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return harness.new_store(Role.TRACKING, name)


def login(harness: Harness, store: PostgresqlStore, name: str, grants: str, *, options: str = "") -> PostgresqlStore:
    """The same store with a login of its own, made new."""
    database = store.uri.database
    harness.server.execute(f"DROP ROLE IF EXISTS {name}")
    harness.server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'pw-{name}' {options}")
    for grant in filter(None, grants.split(";")):
        harness.server.execute(grant, database)
    return PostgresqlStore(harness.server.uri(database, username=name, password=Secret(f"pw-{name}")), Role.TRACKING)


def give_all_to(harness: Harness, store: PostgresqlStore, owner: str) -> None:
    """Make a role the owner of the database and of everything in it."""
    database = store.uri.database
    harness.server.execute(f"ALTER DATABASE {database} OWNER TO {owner}")
    with psycopg.connect(store.uri.reveal()) as connection:
        found = connection.execute(
            "SELECT format('ALTER TABLE %%s OWNER TO %%I', oid::regclass, %s::text) FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
            [owner],
        ).fetchall()
        for (statement,) in found:
            connection.execute(statement)
        connection.execute(f"ALTER FUNCTION remember_rename OWNER TO {owner}".encode())


# --- reaching it ---------------------------------------------------------------------------------------------


def test_a_wrong_password_is_refused_and_never_shown(harness: Harness, store: PostgresqlStore) -> None:
    canary = "canary/p@ss word'\"%41"
    wrong = PostgresqlStore(harness.server.uri(store.uri.database, password=Secret(canary)), Role.TRACKING)
    for action in (wrong.facts, wrong.revision, wrong.exists, wrong.fingerprint, wrong.schema_dump):
        with pytest.raises(StoreError, match="refused") as caught:
            action()
        shown = f"{caught.value!r} {caught.value.message} {caught.value.hint} {caught.value.__cause__!r}"
        assert canary not in shown
        assert "canary" not in shown
        assert not caught.value.retryable


def test_a_missing_database_and_a_server_that_is_down(tmp_path: Path) -> None:
    harness = Harness(tmp_path)
    harness.start()
    try:
        missing = PostgresqlStore(harness.server.uri("nowhere"), Role.TRACKING)
        assert not missing.exists()
        with pytest.raises(StoreError, match="nowhere") as caught:
            missing.facts()
        assert not caught.value.retryable
        harness.server.kill()
        with pytest.raises(StoreError) as caught:
            missing.exists()
        assert caught.value.retryable
        harness.server.start()  # recovers from the crash
        assert not missing.exists()
    finally:
        harness.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql+psycopg2://u:p%40w@h:6000/d", {"host": "h", "port": "6000", "user": "u", "password": "p@w"}),
        ("postgresql:///d?host=/var/run/pg", {"host": "/var/run/pg", "dbname": "d"}),
        ("postgresql://u@/d?host=a:1&host=b:2", {"host": "a,b", "port": "1,2"}),
        ("postgresql://h/d?sslmode=require&connect_timeout=3", {"sslmode": "require", "connect_timeout": "3"}),
        ("postgresql://h/d?options=-csearch_path%3Dx,public", {"options": "-csearch_path=x,public"}),
    ],
)
def test_parameters_are_libpqs(text: str, expected: dict[str, str]) -> None:
    found = parameters(StoreUri.parse(text))
    assert {name: found[name] for name in expected} == expected


def test_options_of_the_uri_are_honoured(harness: Harness, store: PostgresqlStore) -> None:
    harness.execute(store, "CREATE SCHEMA old")
    harness.execute(store, "CREATE TABLE old.alembic_version (version_num VARCHAR(32))")
    harness.execute(store, "INSERT INTO old.alembic_version VALUES ('0123456789ab')")
    other = PostgresqlStore(
        StoreUri.parse(store.uri.reveal() + "?options=-csearch_path%3Dold,public&host=" + str(harness.server.sockets)),
        Role.TRACKING,
    )
    assert other.revision() == "0123456789ab"
    assert store.facts().versions == {"alembic_version": (REVISION,), "old.alembic_version": ("0123456789ab",)}


def test_an_option_that_libpq_does_not_know_is_one_line(store: PostgresqlStore) -> None:
    with pytest.raises(StoreError, match="nonsense"):
        PostgresqlStore(StoreUri.parse(store.uri.reveal() + "?nonsense=1"), Role.TRACKING).revision()


@pytest.mark.parametrize(
    ("query", "bound"),
    [
        ("a = :x AND b::text = ':x'", "a = %(x)s AND b::text = ':x'"),
        ("a LIKE '%:x' || :x -- :x", "a LIKE '%%:x' || %(x)s -- :x"),
        ("\":x\" = :x /* :x */ OR $$:x$$ = E'\\':x'", "\":x\" = %(x)s /* :x */ OR $$:x$$ = E'\\':x'"),
        ("a[1:2] = :x AND c = :unknown", "a[1:2] = %(x)s AND c = :unknown"),
    ],
)
def test_bind(query: str, bound: str) -> None:
    assert bind(query, {"x": 1}) == (bound, {"x": 1})
    assert bind(query, None) == (query, None)


# --- rights --------------------------------------------------------------------------------------------------


def test_a_login_that_may_only_read(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    reader = login(
        harness, store, "reader",
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;"
        "GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO reader",
    )  # fmt: skip
    facts = reader.facts()
    assert facts.rights["read"]
    for right in ("write", "create database", "own database", "superuser", "create table"):
        assert not facts.rights[right], right
    assert reader.fingerprint().differences(store.fingerprint()) == ()
    snapshot = reader.snapshot(tmp_path)
    assert held(store, snapshot, tmp_path).differences(store.fingerprint()) == ()
    with pytest.raises(StoreError, match="must be owner"):
        reader.restore(snapshot, tmp_path)
    assert store.fingerprint().differences(held(store, snapshot, tmp_path)) == ()


def test_a_login_that_may_not_read(harness: Harness, store: PostgresqlStore) -> None:
    with pytest.raises(StoreError, match=r"may not read|permission denied"):
        login(harness, store, "stranger", "").facts()


@pytest.mark.parametrize("method", ["pg-dump-directory", "copy-streams"])
def test_restore_in_place_without_the_right_to_create_databases(
    harness: Harness, store: PostgresqlStore, tmp_path: Path, method: str
) -> None:
    name = "owner_" + method[:2]
    owner = login(harness, store, name, "")
    give_all_to(harness, store, name)
    owner = PostgresqlStore(owner.uri, Role.TRACKING, method=method)
    snapshot, schema = owner.snapshot(tmp_path), owner.schema_dump()
    assert snapshot.method == method
    assert not owner.facts().rights["create database"]
    identity = _oid(harness, store)
    for statement in (
        "DROP TABLE tags",
        "CREATE TABLE added (a int)",
        "DELETE FROM metrics",
        "CREATE TYPE t AS ENUM ('a')",
    ):
        harness.execute(owner, statement)
    owner.restore(snapshot, tmp_path)
    assert owner.fingerprint().differences(held(store, snapshot, tmp_path)) == ()
    assert owner.schema_dump() == schema
    assert _oid(harness, store) == identity
    with pytest.raises(StoreError, match="may not make"):
        owner.scratch("x").restore(snapshot, tmp_path)


def test_an_owner_who_may_make_databases_restores_beside(
    harness: Harness, store: PostgresqlStore, tmp_path: Path
) -> None:
    """No superuser: it has no right of its own on the usual tablespace."""
    owner = login(harness, store, "maker", "", options="CREATEDB")
    give_all_to(harness, store, "maker")
    snapshot, identity = owner.snapshot(tmp_path), _oid(harness, store)
    harness.execute(owner, "DELETE FROM metrics")
    owner.restore(snapshot, tmp_path)
    assert owner.fingerprint().differences(held(store, snapshot, tmp_path)) == ()
    assert _oid(harness, store) != identity
    scratch = owner.scratch("x")
    scratch.restore(snapshot, tmp_path)
    scratch.drop()


def test_restore_in_place_keeps_everything_when_it_fails(
    harness: Harness, store: PostgresqlStore, tmp_path: Path
) -> None:
    owner = login(harness, store, "unlucky", "")
    give_all_to(harness, store, "unlucky")
    snapshot = owner.snapshot(tmp_path)
    harness.execute(owner, "DELETE FROM metrics WHERE key = 'one'")
    before, schema = owner.fingerprint(), owner.schema_dump()
    other = _with_other_sum(snapshot, "params")
    with pytest.raises(StoreError, match="not the snapshot's: params"):
        owner.restore(other, tmp_path)
    assert owner.fingerprint().differences(before) == ()
    assert owner.schema_dump() == schema


def test_restore_refuses_data_that_is_not_the_snapshots(
    harness: Harness, store: PostgresqlStore, tmp_path: Path
) -> None:
    snapshot = store.snapshot(tmp_path)
    identity = _oid(harness, store)
    with pytest.raises(StoreError, match="not the snapshot's: runs"):
        store.restore(_with_other_sum(snapshot, "runs"), tmp_path)
    assert _oid(harness, store) == identity
    assert _databases(harness, store) == {store.uri.database}


def test_restore_refuses_to_destroy_what_is_not_mlflows(
    harness: Harness, store: PostgresqlStore, tmp_path: Path
) -> None:
    snapshot = store.snapshot(tmp_path)
    harness.execute(store, "CREATE SCHEMA airflow")
    harness.execute(store, "CREATE TABLE airflow.dag (id int)")
    with pytest.raises(Refused, match=r"airflow\.dag"):
        store.restore(snapshot, tmp_path)
    harness.execute(store, "DROP SCHEMA airflow CASCADE")
    harness.server.execute("CREATE ROLE somebody")
    harness.execute(store, "CREATE TABLE theirs (id int)")
    harness.execute(store, "ALTER TABLE theirs OWNER TO somebody")
    with pytest.raises(Refused, match="theirs"):
        store.restore(snapshot, tmp_path)


def test_restore_keeps_the_databases_own_properties(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    name = store.uri.database
    for statement in (
        "CREATE ROLE keeper CREATEDB LOGIN PASSWORD 'pw-keeper'", "CREATE ROLE visitor",
        f"ALTER DATABASE {name} OWNER TO keeper", f"REVOKE ALL ON DATABASE {name} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {name} TO visitor WITH GRANT OPTION", f"COMMENT ON DATABASE {name} IS 'it''s ours'",
        f"ALTER DATABASE {name} SET search_path TO public, \"Odd name\"", f"ALTER DATABASE {name} SET work_mem = '7MB'",
        f"ALTER ROLE visitor IN DATABASE {name} SET statement_timeout = '5s'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 33",
    ):  # fmt: skip
        harness.server.execute(statement)
    before, identity = _properties(harness, store), _oid(harness, store)
    store.restore(store.snapshot(tmp_path), tmp_path)
    assert _properties(harness, store) == before
    assert _oid(harness, store) != identity  # it is another database now
    assert _databases(harness, store) == {name}


def test_a_session_in_the_way_changes_nothing(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    snapshot = store.snapshot(tmp_path)
    with held_open(store.uri.reveal()), pytest.raises(StoreError, match="accessed by other users") as caught:
        store.restore(snapshot, tmp_path)
    assert caught.value.retryable
    assert _databases(harness, store) == {store.uri.database}


# --- copies --------------------------------------------------------------------------------------------------


def test_tidy_drops_what_a_killed_restore_left_and_nothing_else(harness: Harness, store: PostgresqlStore) -> None:
    store.tidy()
    name = store.uri.database
    for other in (f"{name}_liftlock_restore", f"{name}_liftlock_old", f"{name}_liftlock_mine"):
        harness.server.create_database(other)
    store.tidy()
    store.tidy()
    assert _databases(harness, store) == {name, f"{name}_liftlock_mine"}


def test_tidy_leaves_the_only_copy_alone(harness: Harness, store: PostgresqlStore) -> None:
    name = store.uri.database
    harness.server.execute(f"ALTER DATABASE {name} RENAME TO {name}_liftlock_old")
    store.tidy()
    assert _databases(harness, store) == {f"{name}_liftlock_old"}


@pytest.mark.parametrize("name", ["", "a b", "restore", "old", 'x"; DROP'])
def test_scratch_names(store: PostgresqlStore, name: str) -> None:
    with pytest.raises(LiftlockError, match="name"):
        store.scratch(name)


def test_names_of_ours_keep_within_the_limit_and_apart() -> None:
    one, two = "m" * 62 + "a", "m" * 62 + "b"
    assert beside("mlflow", "restore") == "mlflow_liftlock_restore"
    assert len({beside(one, "restore"), beside(two, "restore"), beside(one, "old")}) == 3
    assert all(len(beside(name, "restore").encode()) <= 63 for name in (one, two, "ü" * 31))


def test_schema_dump_is_what_pg_dump_sees(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    """pg_dump is the oracle: two schemas that are equal to us are equal to it, up to its way of writing CHECKs."""
    copy = PostgresqlStore(store.uri, Role.TRACKING, method="copy-streams")
    snapshot = copy.snapshot(tmp_path)
    scratch = copy.scratch("oracle")
    scratch.restore(snapshot, tmp_path)
    assert scratch.schema_dump() == store.schema_dump()
    assert _plain_schema(scratch) == _plain_schema(store)
    scratch.drop()


def test_copy_streams_carries_what_people_add(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    harness.server.execute("DROP ROLE IF EXISTS analyst")
    harness.server.execute("CREATE ROLE analyst")
    for statement in (
        "CREATE TYPE mood AS ENUM ('a''b', 'c')",
        'CREATE TABLE odd ("Id" bigint GENERATED BY DEFAULT AS IDENTITY (START 7 INCREMENT 3),'
        " m mood DEFAULT 'c', j jsonb,"
        ' at timestamptz DEFAULT now(), n numeric(10, 3), f real[], u uuid, t text COLLATE "C", UNIQUE (m, n))',
        "INSERT INTO odd (m, j, at, n, f, t)"
        " VALUES ('a''b', '{\"b\": 1}', 'infinity', 'NaN', '{-0,NaN}', E'a\\\\b\\t')",
        "INSERT INTO odd (n) VALUES (1.500)",
        "CREATE UNIQUE INDEX odd_partial ON odd (lower(t)) WHERE t IN ('x', 'y')",
        "CREATE VIEW seen AS SELECT run_uuid FROM runs WHERE status = 'FINISHED'",
        "GRANT SELECT ON seen TO analyst",
        "COMMENT ON COLUMN odd.j IS 'it''s'",
        "ALTER TABLE registered_models DISABLE TRIGGER remember_rename",
    ):
        harness.execute(store, statement)
    copy = PostgresqlStore(store.uri, Role.TRACKING, method="copy-streams")
    snapshot, scratch = copy.snapshot(tmp_path), copy.scratch("odd")
    scratch.restore(snapshot, tmp_path)
    assert _plain_schema(scratch) == _plain_schema(store)
    harness.execute(scratch, "INSERT INTO odd (n) VALUES (2)")
    assert [row["Id"] for row in scratch.rows('SELECT "Id" FROM odd ORDER BY 1')] == [7, 10, 13]
    scratch.drop()


def test_copy_streams_refuses_what_it_cannot_carry(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    harness.execute(store, "CREATE TABLE parts (a int) PARTITION BY LIST (a)")
    with pytest.raises(StoreError, match="parts"):
        PostgresqlStore(store.uri, Role.TRACKING, method="copy-streams").snapshot(tmp_path)


def test_a_large_table_is_loaded_in_parts(
    harness: Harness, store: PostgresqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut anywhere, with values that hold line ends and the mark that ends COPY data."""
    harness.execute(store, 'CREATE TABLE "Odd name" (a int GENERATED ALWAYS AS (b + 1) STORED, b int, "c d" text)')
    harness.execute(
        store,
        """INSERT INTO "Odd name" (b, "c d")
           SELECT i, E'\\\\.\\n' || repeat(E'ü\\n\\t', i % 40) FROM generate_series(1, 999) i""",
    )
    monkeypatch.setattr(postgresql_load, "_LARGE", 1)
    monkeypatch.setattr(tools, "compression", lambda _: "0")
    snapshot, scratch = store.snapshot(tmp_path), store.scratch("parts")
    for jobs in (1, 2, 7):
        monkeypatch.setattr(postgresql_restore, "JOBS", jobs)
        scratch.restore(snapshot, tmp_path)
        assert scratch.fingerprint().differences(held(store, snapshot, tmp_path)) == ()
        assert scratch.schema_dump() == store.schema_dump()
    scratch.drop()


_MANY_INDEXES = """
CREATE TABLE "Large one" (a int NOT NULL, b text, "c d" text NOT NULL, e int UNIQUE DEFERRABLE, f int[], g int);
ALTER TABLE "Large one" ADD CONSTRAINT large_pk PRIMARY KEY (a, "c d");
ALTER TABLE "Large one" ADD CONSTRAINT "Odd; (unique)" UNIQUE ("c d", a);
ALTER TABLE "Large one" ADD CONSTRAINT with_more UNIQUE (a) INCLUDE (b);
ALTER TABLE "Large one" ADD CONSTRAINT slack UNIQUE (g) WITH (fillfactor = 50);
ALTER TABLE "Large one" ADD CONSTRAINT never_twice EXCLUDE USING btree (a WITH =);
CREATE INDEX part ON "Large one" (b) WHERE a > 5;
CREATE INDEX computed ON "Large one" (lower(b), (a + 1));
CREATE INDEX other_kind ON "Large one" USING gin (f);
CREATE INDEX descending ON "Large one" (b COLLATE "C" text_pattern_ops DESC NULLS LAST);
CREATE UNIQUE INDEX alone ON "Large one" (a, b);
COMMENT ON INDEX part IS 'a; comment';
COMMENT ON CONSTRAINT large_pk ON "Large one" IS 'the key';
ALTER TABLE "Large one" CLUSTER ON large_pk;
ALTER TABLE "Large one" REPLICA IDENTITY USING INDEX "Odd; (unique)";
CREATE TABLE child (a int, d text, FOREIGN KEY (a, d) REFERENCES "Large one" (a, "c d") ON DELETE CASCADE);
INSERT INTO "Large one" SELECT i, 'b' || i, 'c', i, ARRAY[i], i FROM generate_series(1, 500) i;
INSERT INTO child SELECT i, 'c' FROM generate_series(1, 500) i
"""


def _dumped(store: PostgresqlStore) -> list[str]:
    """The schema as pg_dump writes it."""
    with psycopg.connect(store.uri.reveal()) as connection:
        programs = tools.find_tools(connection.info.server_version // 10000)
    assert programs is not None
    given = parameters(store.uri)
    words = [str(programs.path("pg_dump")), "--schema-only", f"--dbname={tools.target(given)}"]
    text = tools.read(words, tools.environment(given)).decode()
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def test_indexes_built_at_the_same_time_are_the_same(
    harness: Harness, store: PostgresqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.execute(store, _MANY_INDEXES)
    monkeypatch.setattr(postgresql_load, "_LARGE", 1)
    monkeypatch.setattr(tools, "compression", lambda _: "0")
    built: list[str] = []
    build = postgresql_indexes.build

    def seen(uri: StoreUri, builds: Sequence[postgresql_indexes.Build], *given: Any, **named: Any) -> None:
        built.extend(each.statement for each in builds)
        build(uri, builds, *given, **named)

    monkeypatch.setattr(postgresql_indexes, "build", seen)
    snapshot = store.snapshot(tmp_path)
    store.restore(snapshot, tmp_path)
    plain = PostgresqlStore(harness.server.create_database(f"{store.uri.database}_plain"), Role.TRACKING)
    with psycopg.connect(plain.uri.reveal()) as connection:
        programs = tools.find_reader(tmp_path, connection.info.server_version // 10000)
    assert programs is not None
    given = parameters(plain.uri)
    words: list[str | Path] = [programs.path("pg_restore"), f"--dbname={tools.target(given)}", tmp_path]
    tools.read(words, tools.environment(given))
    assert _dumped(store) == _dumped(plain)
    assert store.fingerprint().differences(held(store, snapshot, tmp_path)) == ()
    assert any("metric_pk" in line for line in built) and any("index_metrics_run_uuid" in line for line in built)
    with psycopg.connect(store.uri.reveal()) as connection:
        (broken,) = next(connection.execute(
            "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE NOT (indisvalid AND indisready AND indislive)"))  # fmt: skip
    assert broken == 0


def test_an_index_that_cannot_be_built_is_an_error(store: PostgresqlStore) -> None:
    """Whichever it is; and what goes on beside is called once."""
    good = postgresql_indexes.Build("1", "CREATE INDEX good ON metrics (step)")
    bad = postgresql_indexes.Build("2", "CREATE INDEX bad ON metrics (nowhere)")
    calls: list[str] = []
    for number, builds in enumerate(((bad, good), (good, bad)), 1):
        with pytest.raises(StoreError, match="nowhere"):
            postgresql_indexes.build(store.uri, builds, {}, jobs=2, beside=lambda: calls.append("beside"))
        assert len(calls) == number
        with psycopg.connect(store.uri.reveal()) as connection:
            connection.execute("DROP INDEX IF EXISTS good")


def test_data_that_is_not_the_snapshots_never_takes_the_place(
    store: PostgresqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the comparison is made beside the building of indexes."""
    monkeypatch.setattr(postgresql_load, "_LARGE", 1)
    monkeypatch.setattr(tools, "compression", lambda _: "0")
    snapshot = store.snapshot(tmp_path)
    before, schema = store.fingerprint(), store.schema_dump()
    with pytest.raises(StoreError, match="not the snapshot's: metrics"):
        store.restore(_with_other_sum(snapshot, "metrics"), tmp_path)
    assert before.differences(store.fingerprint()) == ()
    assert store.schema_dump() == schema


def test_only_plain_statements_are_taken_from_an_archive() -> None:
    head = "\n--\n-- TOC entry 7 (class 2606 OID 1)\n-- Name: t k; Type: CONSTRAINT; Schema: public; Owner: x\n--\n\n"
    key = "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a, b);\n\n"
    (build,) = postgresql_indexes.parse(head + key, ["public.t"])
    assert build.entry == "7"
    assert build.statement == "CREATE UNIQUE INDEX k ON public.t USING btree (a, b);"
    assert build.key == "ALTER TABLE ONLY public.t ADD CONSTRAINT k PRIMARY KEY USING INDEX k;"
    assert postgresql_indexes.parse(head + key, ["public.other"]) == ()
    for line in ("SET default_tablespace = fast;\n", 'SET default_table_access_method = "columns";\n'):
        assert postgresql_indexes.parse(line + head + key, ["public.t"]) == ()
    for line in (
        "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k PRIMARY KEY (a) INCLUDE (b);",
        "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k UNIQUE NULLS NOT DISTINCT (a);",
        "ALTER TABLE ONLY public.t\n    ADD CONSTRAINT k UNIQUE (a) DEFERRABLE;",
        'ALTER TABLE ONLY public.t\n    ADD CONSTRAINT "a k" UNIQUE (a);',
        key + "ALTER TABLE public.t CLUSTER ON k;",
    ):
        assert postgresql_indexes.parse(head + line, ["public.t"]) == (), line


def test_newer_programs_than_the_server(
    harness: Harness, store: PostgresqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pg_restore 17 and newer write a setting that older servers refuse; here every server counts as too old."""
    snapshot, scratch = store.snapshot(tmp_path), store.scratch("older")
    monkeypatch.setattr(postgresql_load, "_is_too_old", lambda *_: True)
    scratch.restore(snapshot, tmp_path)
    assert scratch.fingerprint().differences(held(store, snapshot, tmp_path)) == ()
    assert scratch.schema_dump() == store.schema_dump()
    scratch.drop()


def test_no_secret_is_in_a_snapshot(harness: Harness, store: PostgresqlStore, tmp_path: Path) -> None:
    word = harness.server.password.reveal()
    snapshot = store.snapshot(tmp_path)
    assert word not in to_json(snapshot)
    assert all(word.encode() not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert word not in tools.target(parameters(store.uri))


def _with_other_sum(snapshot: StoreSnapshot, table: str) -> StoreSnapshot:
    assert snapshot.fingerprint
    tables = tuple(
        msgspec.structs.replace(entry, sum1="1") if entry.table == table else entry
        for entry in snapshot.fingerprint.tables
    )
    return msgspec.structs.replace(snapshot, fingerprint=msgspec.structs.replace(snapshot.fingerprint, tables=tables))


def _one(harness: Harness, query: str, *values: object) -> tuple[object, ...]:
    with psycopg.connect(harness.server.uri("postgres").reveal()) as connection:
        row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return tuple(row)


def _oid(harness: Harness, store: PostgresqlStore) -> object:
    return _one(harness, "SELECT oid FROM pg_database WHERE datname = %s", store.uri.database)


def _databases(harness: Harness, store: PostgresqlStore) -> set[str]:
    query = "SELECT array_agg(datname::text) FROM pg_database WHERE starts_with(datname, %s)"
    (found,) = _one(harness, query, store.uri.database)
    assert isinstance(found, list)
    return set(found)


def _properties(harness: Harness, store: PostgresqlStore) -> object:
    return _one(
        harness,
        """SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database'), datcollate, encoding,
                  (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(datacl) a),
                  (SELECT array_agg((setrole, setconfig)::text ORDER BY 1)
                     FROM pg_db_role_setting WHERE setdatabase = oid)
             FROM pg_database WHERE datname = %s""",
        store.uri.database,
    )


def _plain_schema(store: PostgresqlStore) -> list[str]:
    """pg_dump's own view, statements sorted, without the casts that PostgreSQL itself rewrites on a reload."""
    with psycopg.connect(store.uri.reveal()) as connection:
        programs = tools.find_tools(connection.info.server_version // 10000)
    assert programs is not None
    given = parameters(store.uri)
    text = tools.read(
        [programs.path("pg_dump"), "--schema-only", f"--dbname={tools.target(given)}"], tools.environment(given)
    ).decode()
    text = re.sub(r"^(--|\\|SELECT pg_catalog.set_config|SET ).*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"::(character varying|text)(\[\])?|[()]", "", text)
    return sorted(part.strip() for part in text.split(";\n") if part.strip())
