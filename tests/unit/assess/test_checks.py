"""Each check answers PASS on a sound deployment and something else on the fault it is for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from liftlock import clock
from liftlock.assess.collect import collect
from liftlock.assess.facts import Broken, Facts, Place, Target, Unknown
from liftlock.assess.reference import checks_markdown
from liftlock.assess.run import assess, registry
from liftlock.describe.config import ArtifactsSection, Config, ServerSection, StoresSection
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.release import Release
from liftlock.model.uri import StoreUri
from liftlock.releases.environment import Environment, Proof
from liftlock.releases.tools import Heads
from liftlock.stores.opening import open_store
from tests.support.servers import free_port

OLD = Heads(tracking=("a0", "acf3f17fdcc7"), auth=("8606fa83a998",))
NEW = Heads(tracking=(*OLD.tracking, "867495a8f9d4", "a1b2c3d4e5f6", "75868b020152"), auth=(*OLD.auth, "f1a2b3c4d5e6"))


def environment(**changed: Any) -> Environment:
    proof = Proof(at=clock.now(), sqlalchemy="2.1.9", drivers=("psycopg",), start_seconds=12.0)
    made = Environment(
        release=Release(version="3.17.2"), python=Path("/e/bin/python"), python_version="3.11.7", package=Path("/e"),
        lock="", lock_digest="", owned=True, proof=proof,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


class World:
    """A small sound deployment on SQLite with nothing running, to be broken by a test."""

    def __init__(self, directory: Path) -> None:
        self.tracking, self.auth = directory / "mlflow.db", directory / "auth.db"
        version = "CREATE TABLE alembic_version (version_num VARCHAR(32))"
        sql(
            self.tracking,
            version,
            "INSERT INTO alembic_version VALUES ('acf3f17fdcc7')",
            "CREATE TABLE runs (run_uuid TEXT, start_time BIGINT)",
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT)",
        )
        sql(
            self.auth,
            version,
            "INSERT INTO alembic_version VALUES ('8606fa83a998')",
            "CREATE TABLE users (id INTEGER)",
            "INSERT INTO users VALUES (1)",
            "CREATE TABLE experiment_permissions (id INTEGER)",
        )
        server = ServerSection(
            release="2.9.2",
            python="/v/bin/python",
            working_directory=str(directory),
            port=free_port(),
            app_name="basic-auth",
        )
        stores = StoresSection(tracking=f"sqlite:///{self.tracking}", auth=f"sqlite:///{self.auth}")
        self.config = Config(
            path=directory / "liftlock.toml", name="x", server=server, stores=stores, artifacts=ArtifactsSection()
        )
        self.target = Target(release=Release(version="3.17.2"), heads=NEW, environment=environment())

    def facts(self) -> Facts:
        stores = {role: open_store(self.config.store_uri(role), role) for role in self.config.roles()}
        return collect(self.config, stores=stores, server=None, running_heads=OLD, target=self.target)

    def set_server(self, **changed: Any) -> None:
        server = msgspec.structs.replace(self.config.server, **changed)
        self.config = msgspec.structs.replace(self.config, server=server)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def find(facts: Facts, code: str) -> Finding:
    return next(finding for finding in assess(facts) if finding.code == code)


def at_revision(revision: str) -> Callable[[World], None]:
    return lambda world: sql(world.tracking, f"UPDATE alembic_version SET version_num = '{revision}'")


def in_tracking(*statements: str) -> Callable[[World], None]:
    return lambda world: sql(world.tracking, *statements)


def with_server(**changed: Any) -> Callable[[World], None]:
    return lambda world: world.set_server(**changed)


def with_target(**changed: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.target = replace(world.target, **changed)

    return change


def damaged(world: World) -> None:
    raw = bytearray(world.tracking.read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    world.tracking.write_bytes(raw)


SPANS = (
    "CREATE TABLE trace_info (request_id TEXT)",
    "INSERT INTO trace_info VALUES ('t1')",
    "CREATE TABLE spans (trace_id TEXT, span_id TEXT, dimension_attributes TEXT)",
    "UPDATE alembic_version SET version_num = 'a1b2c3d4e5f6'",
)


def test_a_sound_deployment_has_nothing_to_fear(world: World) -> None:
    findings = assess(world.facts())
    assert [finding.code for finding in findings] == [check.code for check in registry()]
    wrong = [finding for finding in findings if finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN)]
    assert not wrong


@pytest.mark.parametrize(
    ("code", "fault", "says"),
    [
        ("LLC004", at_revision("a0"), "behind acf3f17fdcc7"),
        ("LLC004", at_revision("a1b2c3d4e5f6"), "which MLflow 2.9.2 does not know"),
        ("LLC004", in_tracking("DROP TABLE alembic_version"), "no MLflow schema"),
        ("LLC005", at_revision("f4a9b2c7d1e6"), "which MLflow 3.17.2 does not know"),
        ("LLC006", at_revision("v2.4.0.a"), "v2.4.0.a, which is no revision"),
        ("LLC006", in_tracking("INSERT INTO alembic_version VALUES ('other')"), "has 2 rows"),
        ("LLC006", in_tracking("CREATE TABLE alembic_version_optuna (version_num TEXT)"), "alembic_version_optuna"),
        ("LLC006", in_tracking("CREATE TABLE alembic_version_auth (version_num TEXT)"), "no auth store is configured"),
        ("LLC007", lambda world: sql(world.auth, "DROP TABLE users"), "no table users"),
        ("LLC007", lambda world: sql(world.auth, "DELETE FROM alembic_version"), "no revision"),
        ("LLC008", in_tracking("CREATE TABLE _alembic_tmp_tags (key TEXT)"), "_alembic_tmp_tags in the tracking"),
        ("LLC008", in_tracking("CREATE TABLE spans (trace_id TEXT)"), "spans in the tracking store"),
        ("LLC009", in_tracking(*SPANS, "INSERT INTO spans VALUES ('gone', 's', NULL)"), "1 spans without their trace"),
        ("LLC009", in_tracking(*SPANS, "INSERT INTO spans VALUES ('t1', 's', '{')"), "t1/s: no JSON"),
        ("LLC009", in_tracking(*SPANS, "INSERT INTO spans VALUES ('t1', 's', '[1]')"), "a list instead of an object"),
        ("LLC009", in_tracking(*SPANS, """INSERT INTO spans VALUES ('t1', 's', '{"x": "y"}')"""), "key x"),
        (
            "LLC009",
            in_tracking(*SPANS, """INSERT INTO spans VALUES ('t1', 's', '{"mlflow.llm.model": 3}')"""),
            "no text",
        ),
        ("LLC010", damaged, "tracking: "),
        ("LLC012", with_target(environment=Broken("resolver said no", "try another")), "resolver said no"),
        ("LLC012", with_target(release=Release(version="3.16.1")), "holds MLflow 3.17.2, not 3.16.1"),
        ("LLC015", with_server(host="0.0.0.0"), "public_names is empty"),
        (
            "LLC015",
            with_server(public_names=("ml.example.com",), arguments=("--allowed-hosts", "localhost,ml")),
            "--allowed-hosts lacks ml.example.com",
        ),
        (
            "LLC015",
            with_server(public_names=("a.b",), environment={"MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": "https://x"}),
            "--cors-allowed-origins lacks https://a.b",
        ),
        ("LLC019", in_tracking("INSERT INTO runs VALUES ('r', 9999999999999)"), "in the future"),
        ("LLC020", with_target(environment=environment(python_version="3.8.1")), "its environment has 3.8.1"),
    ],
)
def test_faults_are_found(world: World, code: str, fault: Callable[[World], None], says: str) -> None:
    fault(world)
    finding = find(world.facts(), code)
    assert finding.outcome is Outcome.FAIL, finding
    assert says in finding.message
    assert "\n" not in finding.message


def test_good_spans_pass(world: World) -> None:
    good = """INSERT INTO spans VALUES ('t1', 's', '{"mlflow.llm.model": "m", "mlflow.llm.provider": null}')"""
    sql(world.tracking, *SPANS, good, "INSERT INTO spans VALUES ('t1', 'u', 'null')")
    assert find(world.facts(), "LLC009").outcome is Outcome.PASS


def test_public_names_that_the_lists_cover(world: World) -> None:
    world.set_server(public_names=("ml.example.com",), arguments=("--allowed-hosts", "*.example.com"))
    assert find(world.facts(), "LLC015").outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        (lambda facts: {"running_heads": Unknown("no environment")}, {"LLC004"}),
        (lambda facts: {"disk": Unknown("no size")}, {"LLC011"}),
        (lambda facts: {"running": Unknown("another user's")}, {"LLC001", "LLC002", "LLC018"}),
        (lambda facts: {"clock_ahead": {Role.TRACKING: Unknown("refused")}}, {"LLC019"}),
        (lambda facts: {"newest_run": Unknown("refused")}, {"LLC019"}),
        (lambda facts: {"target": replace(facts.target, environment=Unknown("offline"))}, {"LLC012", "LLC020"}),
        (lambda facts: {"target": replace(facts.target, heads=Unknown("offline"))}, {"LLC005", "LLC009"}),
        (lambda facts: {"target": replace(facts.target, environment=environment(proof=None))}, {"LLC012"}),
    ],
)
def test_what_is_not_known_is_unknown_and_does_not_pass(
    world: World, change: Callable[[Facts], dict[str, Any]], codes: set[str]
) -> None:
    facts = world.facts()
    findings = assess(replace(facts, **change(facts)))
    assert {finding.code for finding in findings if finding.outcome is Outcome.UNKNOWN} == codes
    assert all(finding.message for finding in findings if finding.outcome is Outcome.UNKNOWN)
    assert all(finding.blocks for finding in findings if finding.code in codes and finding.severity is Severity.ERROR)


def test_without_a_target_only_the_present_is_asked(world: World) -> None:
    facts = replace(world.facts(), target=None)
    skipped = {finding.code for finding in assess(facts) if finding.outcome is Outcome.SKIPPED}
    assert {"LLC005", "LLC009", "LLC012", "LLC013", "LLC015", "LLC020"} <= skipped
    assert not [finding for finding in assess(facts) if finding.outcome in (Outcome.FAIL, Outcome.UNKNOWN)]


def test_an_unreadable_database_fails_and_leaves_the_rest_unknown(world: World) -> None:
    world.tracking.unlink()
    findings = {finding.code: finding for finding in assess(world.facts())}
    assert findings["LLC003"].outcome is Outcome.FAIL
    assert findings["LLC004"].outcome is Outcome.UNKNOWN
    assert findings["LLC011"].outcome is Outcome.UNKNOWN


def test_disk_counts_two_and_a_half_times(world: World) -> None:
    place = Place(path="/x", needed=1000, free=2499, what=("backup",))
    facts = world.facts()
    assert find(replace(facts, disk=(place,)), "LLC011").outcome is Outcome.FAIL
    assert find(replace(facts, disk=(replace(place, free=2500),)), "LLC011").outcome is Outcome.PASS


def test_rights_and_passphrase_and_clock(world: World) -> None:
    facts = world.facts()
    tracking = facts.store(Role.TRACKING)
    poor = changed(facts, msgspec.structs.replace(tracking, rights={"read": True, "write": False}))
    assert "may not write" in find(poor, "LLC014").message
    assert find(replace(facts, clock_ahead={Role.TRACKING: -30.0}), "LLC019").outcome is Outcome.FAIL
    assert find(facts, "LLC017").outcome is Outcome.SKIPPED


def test_port_taken_by_a_stranger(world: World) -> None:
    facts = replace(world.facts(), port_free=False, port_holders=(1,))
    assert "taken by PID 1" in find(facts, "LLC018").message
    assert find(replace(facts, healthy=True), "LLC001").outcome is Outcome.FAIL


def test_file_store_and_missing_driver(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = world.facts()
    stores = msgspec.structs.replace(world.config.stores, tracking="./mlruns")
    assert find(
        replace(facts, config=msgspec.structs.replace(world.config, stores=stores)), "LLC016"
    ).outcome is Outcome.FAIL  # fmt: skip
    stores = msgspec.structs.replace(world.config.stores, tracking="postgresql://u@h/d")
    config = msgspec.structs.replace(world.config, stores=stores)
    bare = environment(proof=Proof(at=clock.now(), sqlalchemy="2.1.9"))
    lacking = replace(facts, config=config, target=replace(world.target, environment=bare))
    assert "no driver for postgresql" in find(lacking, "LLC013").message
    assert find(replace(facts, config=config), "LLC013").outcome is Outcome.PASS


def test_reference_names_every_check() -> None:
    text = checks_markdown()
    for check in registry():
        assert f"## {check.code}: {check.title}\n\n{check.explain}" in text
        assert len(check.explain) > 40
    assert [check.code for check in registry()] == [f"LLC{number:03}" for number in range(1, len(registry()) + 1)]


def changed(facts: Facts, store: StoreFacts) -> Facts:
    return replace(facts, store_facts={**facts.store_facts, store.role: store})


def test_same_place_auth_shares_the_version_table(world: World) -> None:
    stores = msgspec.structs.replace(world.config.stores, auth=world.config.stores.tracking)
    sql(world.tracking, "CREATE TABLE users (id INTEGER)", "CREATE TABLE experiment_permissions (id INTEGER)")
    world.config = msgspec.structs.replace(world.config, stores=stores)
    assert StoreUri.parse(world.config.stores.tracking).same_place(world.config.store_uri(Role.AUTH))
    finding = find(world.facts(), "LLC007")
    assert finding.outcome is Outcome.FAIL
    assert "share one database" in finding.message
