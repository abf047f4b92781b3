"""Real releases: environments built and proven, migrations against MLflow's own command, real clients."""

import math
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.demo.postgres import PostgresServer
from liftlock.errors import ReleaseError
from liftlock.model.deployment import Role
from liftlock.model.progress import Progress
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.releases.environment import Environments
from liftlock.releases.tools import PopulateSize
from liftlock.stores.postgresql import PostgresqlStore
from tests.support.releases import (
    OLD,
    auth_environment,
    environment,
    environments,
    newest,
    quick_password,
    serving,
    tools,
)

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("releases")]
ADMIN = ("admin", Secret("admin-password-1234"))


def content(database: Path) -> dict[str, list[str]]:
    """Schema and rows of every table, comparable."""
    connection = sqlite3.connect(database)
    try:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        found = {name: sorted(map(repr, connection.execute(f'select * from "{name}"'))) for name in tables}
        found[""] = sorted(map(repr, connection.execute("select type, name, sql from sqlite_master")))
        return found
    finally:
        connection.close()


def uri(database: Path) -> StoreUri:
    return StoreUri.parse(f"sqlite:///{database}")


@pytest.fixture(scope="module")
def old_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A stopped 2.9.2 deployment with data, users and artifacts."""
    directory = tmp_path_factory.mktemp("old")
    with serving(OLD, directory, arguments=["--app-name", "basic-auth"], env=auth_environment(directory)) as url:
        quick_password(directory / "auth.db", ADMIN[0], ADMIN[1].reveal())
        size = PopulateSize(experiments=2, runs=6, points=3, models=1, versions=2)
        users = [("alice", Secret("alice-password-1"))]
        counts = tools(OLD).populate(url, size=size, username=ADMIN[0], password=ADMIN[1], users=users)
    assert counts["runs"] == 7 and counts["versions"] == 2 and counts["users"] == 1 and counts["permissions"] == 2
    yield directory


def test_environments_are_proven_and_come_from_the_cache() -> None:
    for version, driver in ((OLD, "psycopg2"), (newest(), "psycopg")):
        built = environment(version)
        assert built.owned and built.release.version == version
        assert built.proof is not None and built.proof.start_seconds is not None
        # The cache may have proven other engines for other callers.
        assert Engine.POSTGRESQL in built.proof.engines and driver in built.proof.drivers
        assert "--hash=sha256:" in built.lock and "://" not in built.lock
        started = time.monotonic()
        again = (
            environments().build(Release.parse(version), drivers={Engine.POSTGRESQL}),
            environments().rebuild(built.lock, built.python_version),
            environments().at(built.python),
        )
        # The same one; its proof may have grown meanwhile, for other callers.
        found = {(each.python, each.lock) if each else None for each in again}
        assert found == {(built.python, built.lock)}
        assert time.monotonic() - started < 1


def test_observing_an_environment_gives_its_lock_again() -> None:
    built = environment(OLD)
    before = sorted(path.name for path in built.package.parent.iterdir())
    seen = environments().observe(built.python)
    assert not seen.owned and seen.unlocked == ()
    assert seen.lock_digest == built.lock_digest
    assert sorted(path.name for path in built.package.parent.iterdir()) == before
    assert environments().carried(seen, {Engine.POSTGRESQL}) == ()


def test_an_interrupted_build_is_done_again_and_kept_ones_survive_prune(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom liftlock.model.release import Release\n"
        "from liftlock.releases.environment import Environments\n"
        f"Environments(Path({str(tmp_path)!r})).build(Release.parse({OLD!r}), start=False)\n"
    )
    env = {**os.environ, "LIFTLOCK_CRASH_AT": "after:install environment"}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == -9
    cache = Environments(tmp_path)
    assert cache.cached() == ()
    leftover = next((tmp_path / "environments").glob("2.9.2-*/venv"))
    (leftover / "leftover").touch()
    built = cache.build(Release.parse(OLD), start=False)
    assert built.proof is not None and not (leftover / "leftover").exists()
    assert cache.cached() == (built,)
    cache.keep(built, by="run 1")
    cache.keep(built, by="run 1")
    assert cache.prune() == () and cache.cached() == (built,)
    cache.release("run 1")
    assert len(cache.prune()) == 1 and cache.cached() == ()


def test_unknown_release_is_refused_with_its_neighbours(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError) as caught:
        Environments(tmp_path).build(Release.parse("2.9.99"))
    assert "2.9.2" in caught.value.hint
    assert not (tmp_path / "environments").exists()


def test_heads() -> None:
    old, new = tools(OLD).heads(), tools(newest()).heads()
    assert old.head(Role.TRACKING) == old.head(Role.REGISTRY) == "acf3f17fdcc7" and len(old.tracking) == 23
    assert old.auth == ("8606fa83a998",)
    assert new.tracking[:23] == old.tracking and new.auth[:1] == old.auth and len(new.auth) >= 7


@pytest.mark.parametrize(
    ("role", "file", "command"),
    [
        (Role.TRACKING, "mlflow.db", ["-m", "mlflow", "db", "upgrade"]),
        (Role.AUTH, "auth.db", ["-m", "mlflow.server.auth", "db", "upgrade", "--url"]),
    ],
)
def test_migration_equals_mlflows_own_command(
    old_data: Path, tmp_path: Path, role: Role, file: str, command: list[str]
) -> None:
    ours, oracle = tmp_path / "ours.db", tmp_path / "oracle.db"
    shutil.copy(old_data / file, ours)
    shutil.copy(old_data / file, oracle)
    python = environment(newest()).python
    subprocess.run([python, *command, f"sqlite:///{oracle}"], check=True, capture_output=True, timeout=120)
    heads = tools(newest()).heads().chain(role)
    seen: list[Progress] = []
    with tools(newest()).warm() as worker:
        report = worker.migrate(uri(ours), role, timeout=120, observer=seen.append)
        again = worker.migrate(uri(ours), role, timeout=120)
    assert content(ours) == content(oracle)
    assert report.from_revision == tools(OLD).heads().head(role)
    assert report.to_revision == heads[-1]
    assert tuple(name for name, _ in report.revisions) == heads[len(tools(OLD).heads().chain(role)) :]
    assert sum(seconds for _, seconds in report.revisions) <= report.seconds
    assert len(seen) == len(report.revisions)
    assert again.revisions == () and again.from_revision == again.to_revision == report.to_revision


def test_a_failing_migration_says_why(old_data: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer.db"
    shutil.copy(old_data / "mlflow.db", newer)
    with sqlite3.connect(newer) as connection:
        connection.execute("update alembic_version set version_num = 'feedfacecafe'")
    with pytest.raises(ReleaseError, match="Can't locate revision identified by 'feedfacecafe'"):
        tools(OLD).migrate(uri(newer), Role.TRACKING, timeout=60)
    garbage = tmp_path / "garbage.db"
    garbage.write_bytes(b"no database" * 1000)
    with pytest.raises(ReleaseError, match="file is not a database"):
        tools(OLD).migrate(uri(garbage), Role.TRACKING, timeout=60)


def test_populated_data_is_of_every_kind(old_data: Path) -> None:
    connection = sqlite3.connect(old_data / "mlflow.db")

    def count(query: str) -> float:
        return float(connection.execute(query).fetchone()[0])

    assert count("select count(*) from metrics where is_nan") == 6
    assert count("select count(*) from tags where key = 'mlflow.parentRunId'") == 1
    assert count("select count(*) from runs where lifecycle_stage = 'deleted'") == 1
    assert count("select count(*) from registered_model_aliases") == 1
    assert count("select max(value) from metrics where key = 'overflow'") > math.pow(10, 300)
    connection.close()
    assert len(list((old_data / "artifacts").rglob("report-0.txt"))) == 3


def test_real_clients_of_both_releases_leave_nothing_on_the_new_server(old_data: Path, tmp_path: Path) -> None:
    for file in ("mlflow.db", "auth.db"):
        shutil.copy(old_data / file, tmp_path)
    shutil.copytree(old_data / "artifacts", tmp_path / "artifacts")
    new = tools(newest())
    new.migrate(uri(tmp_path / "mlflow.db"), Role.TRACKING, timeout=120)
    new.migrate(uri(tmp_path / "auth.db"), Role.AUTH, timeout=120)
    arguments = ["--app-name", "basic-auth"]
    with serving(newest(), tmp_path, arguments=arguments, env=auth_environment(tmp_path)) as url:
        before = content(tmp_path / "mlflow.db"), content(tmp_path / "auth.db")
        files = {path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()}
        reports = [tools(version).smoke(url, username=ADMIN[0], password=ADMIN[1]) for version in (OLD, newest())]
        for report in reports:
            assert [operation.name for operation in report.operations if operation.outcome != "ok"] == []
            assert len(report.operations) == 17
        assert content(tmp_path / "mlflow.db") != before[0]
        erased = new.erase(uri(tmp_path / "mlflow.db"), reports, auth=uri(tmp_path / "auth.db"))
        assert len(erased.erased) == 2 and erased.remaining == {}
        assert (content(tmp_path / "mlflow.db"), content(tmp_path / "auth.db")) == before
        assert {path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()} == files
        assert new.erase(uri(tmp_path / "mlflow.db"), reports).erased == ()

        # A smoke that was killed cleaned up nothing and told nobody its ids: its names are enough.
        killed = new.smoke(url, username=ADMIN[0], password=ADMIN[1], cleanup=False)
        assert killed.created.model_name is not None
        erased = new.erase(uri(tmp_path / "mlflow.db"), (), auth=uri(tmp_path / "auth.db"))
        assert erased.erased == (killed.created.experiment_name,) and erased.remaining == {}
        assert (content(tmp_path / "mlflow.db"), content(tmp_path / "auth.db")) == before
        with pytest.raises(ReleaseError, match="the database is at revision"):
            tools(OLD).erase(uri(tmp_path / "mlflow.db"), reports)
        wrong = tools(OLD).smoke(url, username="admin", password=Secret("not-the-password"), model=False)
        assert wrong.operations[0].outcome == "failed" and "401" in wrong.operations[0].message
        assert {operation.outcome for operation in wrong.operations[2:12]} == {"skipped"}


def test_a_dead_server_is_an_answer_within_seconds() -> None:
    started = time.monotonic()
    report = tools(OLD).smoke("http://127.0.0.1:9", model=False, timeout=60)
    assert report.operations[0].outcome == "failed"
    assert time.monotonic() - started < 30


def test_on_postgresql_migration_smoke_and_erasure(tmp_path: Path) -> None:
    with PostgresServer(tmp_path / "postgres", durable=False) as server:
        place = server.create_database("tracking")
        with serving(OLD, tmp_path, store=place.reveal()) as url:
            tools(OLD).populate(url, size=PopulateSize(experiments=1, runs=2, points=2, models=1, versions=1))
        report = tools(newest()).migrate(place, Role.TRACKING, timeout=120)
        assert report.to_revision == tools(newest()).heads().head(Role.TRACKING)
        store = PostgresqlStore(place, Role.TRACKING)
        with serving(newest(), tmp_path, store=place.reveal()) as url:
            before = store.fingerprint()
            smoke = tools(newest()).smoke(url)
            assert smoke.failed == ()
            assert tools(newest()).erase(place, [smoke]).remaining == {}
            # a sequence never goes back: ids that the smoke used stay unused
            assert store.fingerprint().differences(before) == ("(sequences)",)
