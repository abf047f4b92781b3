"""What only a PostgreSQL server shows: its own clock, JSON columns, rights of a login, a refused password."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from liftlock.assess.collect import collect
from liftlock.assess.facts import Facts, Target, Unknown
from liftlock.assess.run import assess
from liftlock.demo.postgres import PostgresServer
from liftlock.describe.config import Config, ServerSection, StoresSection
from liftlock.model.finding import Finding, Outcome
from liftlock.model.release import Release
from liftlock.releases.tools import Heads
from liftlock.stores.opening import open_store
from tests.support.servers import free_port

NEW = Heads(tracking=("a1b2c3d4e5f6", "75868b020152"), auth=())

SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32));
INSERT INTO alembic_version VALUES ('a1b2c3d4e5f6');
CREATE TABLE runs (run_uuid TEXT, start_time BIGINT);
CREATE TABLE trace_info (request_id TEXT);
CREATE TABLE spans (trace_id TEXT, span_id TEXT, dimension_attributes JSON);
INSERT INTO trace_info VALUES ('t1');
INSERT INTO spans VALUES ('t1', 'good', '{"mlflow.llm.model": "m"}'), ('t1', 'none', NULL);
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        yield server


def facts_of(directory: Path, uri: str) -> Facts:
    section = ServerSection(
        release="3.16.1", python="/v/bin/python", working_directory=str(directory), port=free_port()
    )
    config = Config(path=directory / "liftlock.toml", name="x", server=section, stores=StoresSection(tracking=uri))
    stores = {role: open_store(config.store_uri(role), role) for role in config.roles()}
    target = Target(release=Release(version="3.17.2"), heads=NEW, environment=Unknown("not built"))
    return collect(config, stores=stores, server=None, running_heads=NEW, target=target)


def test_checks_on_a_real_server(tmp_path: Path, server: PostgresServer) -> None:
    uri = server.create_database("mlflow").reveal()
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    sound = answers(facts_of(tmp_path, uri))
    for code in ("LLC003", "LLC005", "LLC006", "LLC009", "LLC014", "LLC019"):
        assert sound[code].outcome is Outcome.PASS, sound[code]

    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("""INSERT INTO spans VALUES ('gone', 's', '{"x": 1}'), ('t1', 'bad', '[]')""")
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reader-canary'")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
    finding = answers(facts_of(tmp_path, uri))["LLC009"]
    assert finding.detail == {"orphan spans": 1, "bad dimension_attributes": 2}

    host = uri.rpartition("@")[2]
    reader = answers(facts_of(tmp_path, f"postgresql://reader:reader-canary@{host}"))["LLC014"]
    assert reader.outcome is Outcome.FAIL
    assert "may not write" in reader.message

    refused = answers(facts_of(tmp_path, f"postgresql://reader:wrong-canary@{host}"))
    assert refused["LLC003"].outcome is Outcome.FAIL
    assert refused["LLC009"].outcome is Outcome.UNKNOWN
    assert "canary" not in str(refused)


def answers(facts: Facts) -> dict[str, Finding]:
    return {finding.code: finding for finding in assess(facts)}
