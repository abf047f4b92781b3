from __future__ import annotations

import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from liftlock.artifacts.local import LocalArtifacts
from liftlock.errors import LiftlockError, Refused, StoreError
from liftlock.export import write as module
from liftlock.export.kinds import REGISTRY, TRACKING
from liftlock.export.lines import plain
from liftlock.export.write import ExportReport, export
from liftlock.files import sha256
from liftlock.model.codec import from_json
from liftlock.model.deployment import Role
from liftlock.stores.interface import Store
from tests.support.mlflow_schema import data
from tests.support.postgres import Harness as PostgresHarness
from tests.support.sqlite import make_database

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture
def stores(tmp_path: Path) -> dict[Role, Store]:
    return {
        Role.TRACKING: make_database(tmp_path / "mlflow.db"),
        Role.AUTH: make_database(tmp_path / "auth.db", Role.AUTH),
    }


def lines(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text(encoding="utf-8").split("\n") if line]


def execute(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def test_every_run_comes_with_its_params_and_tags(stores: dict[Role, Store], tmp_path: Path) -> None:
    report = export(stores, tmp_path / "out", release="2.9.2")
    rows = data(Role.TRACKING)
    runs = lines(tmp_path / "out", "runs")
    assert [run["run_id"] for run in runs] == sorted(row["run_uuid"] for row in rows["runs"])
    for run, row in zip(runs, rows["runs"], strict=True):
        assert run["run_name"] == row["name"]
        assert run["end_time"] == row["end_time"]  # 2**62 stays exact
        assert run["params"] == {p["key"]: p["value"] for p in rows["params"] if p["run_uuid"] == row["run_uuid"]}
        assert run["tags"] == {t["key"]: t["value"] for t in rows["tags"] if t["run_uuid"] == row["run_uuid"]}
    assert [e["name"] for e in lines(tmp_path / "out", "experiments")] == [e["name"] for e in rows["experiments"]]
    assert [(v["name"], v["version"]) for v in lines(tmp_path / "out", "model_versions")] == [
        ("model", 1),
        ("model", 2),
    ]
    assert report.lines("runs") == 6


def test_every_metric_point_is_there_exactly(stores: dict[Role, Store], tmp_path: Path) -> None:
    export(stores, tmp_path / "out", release="2.9.2")
    wanted = {
        (m["run_uuid"], m["key"], m["step"], m["timestamp"], "NaN" if m["is_nan"] else m["value"])
        for m in data(Role.TRACKING)["metrics"]
    }
    points = lines(tmp_path / "out", "metrics")
    assert {(p["run_id"], p["key"], p["step"], p["timestamp"], p["value"]) for p in points} == wanted
    assert len(points) == len(wanted)
    assert all(p.keys() == {"run_id", "key", "step", "timestamp", "value"} for p in points)


def test_the_index_accounts_for_every_file_and_every_row(stores: dict[Role, Store], tmp_path: Path) -> None:
    execute(tmp_path / "mlflow.db", "INSERT INTO params VALUES ('lost', 'x', 'no such run')")
    made = export(stores, tmp_path / "out", release="2.9.2")
    index = from_json((tmp_path / "out/export.json").read_bytes(), ExportReport)
    assert index == made
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"export.json", *(file.name for file in index.files)}
    for file in index.files:
        path = tmp_path / "out" / file.name
        assert (file.bytes, file.sha256) == (path.stat().st_size, sha256(path))
        assert file.lines == path.read_bytes().count(b"\n")
        assert path.stat().st_mode & 0o777 == 0o600
    tables = index.sources[0].tables
    assert (tables["params"].rows, tables["params"].exported) == (49, 48)
    assert (tables["metrics"].rows, tables["metrics"].exported) == (168, 168)
    assert (tables["blobs"].rows, tables["blobs"].exported) == (3, 0)
    assert index.sources[0].revision == "acf3f17fdcc7"


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_batches_change_nothing(
    stores: dict[Role, Store], tmp_path: Path, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(
        tmp_path / "mlflow.db",
        "CREATE TABLE model_version_tags (key, value, name, version)",
        "INSERT INTO model_version_tags VALUES ('k', 'one', 'model', 1), ('k', 'two', 'model', 2)",
    )
    whole = export(stores, tmp_path / "whole", release="2.9.2")
    for name, kinds in (("TRACKING", TRACKING), ("REGISTRY", REGISTRY)):
        monkeypatch.setattr(module, name, tuple(replace(kind, batch=batch) for kind in kinds))
    small = export(stores, tmp_path / "small", release="2.9.2")
    assert small.files == whole.files
    assert small.sources == whole.sources
    tags = [version["tags"] for version in lines(tmp_path / "small", "model_versions")]
    assert tags == [{"k": "one"}, {"k": "two"}]


def test_workspaces_keep_equal_names_apart(tmp_path: Path) -> None:
    store = make_database(tmp_path / "mlflow.db")
    execute(
        tmp_path / "mlflow.db",
        "DROP TABLE model_versions",
        "DROP TABLE registered_models",
        "CREATE TABLE registered_models (name, workspace, description)",
        "CREATE TABLE registered_model_tags (name, workspace, key, value)",
        "INSERT INTO registered_models VALUES ('m', 'b', NULL), ('m', 'a', NULL), ('n', 'a', NULL)",
        "INSERT INTO registered_model_tags VALUES ('m', 'a', 'k', 'in a'), ('m', 'b', 'k', 'in b')",
    )
    export({Role.TRACKING: store}, tmp_path / "out", release="3.17.2")
    found = [(m["name"], m["workspace"], m["tags"]) for m in lines(tmp_path / "out", "registered_models")]
    assert found == [("m", "a", {"k": "in a"}), ("m", "b", {"k": "in b"}), ("n", "a", {})]
    assert not (tmp_path / "out/model_versions.jsonl").exists()


def test_users_come_without_password_hashes_unless_asked_for(stores: dict[Role, Store], tmp_path: Path) -> None:
    export(stores, tmp_path / "out", release="2.9.2")
    assert lines(tmp_path / "out", "users") == [
        {"id": 1, "is_admin": True, "username": "admin"},
        {"id": 2, "is_admin": False, "username": "zoë"},
    ]
    assert lines(tmp_path / "out", "permissions") == [
        {"table": "experiment_permissions", "experiment_id": "1", "id": 1, "permission": "READ", "user_id": 2}
    ]
    for path in (tmp_path / "out").iterdir():
        assert b"scrypt:" not in path.read_bytes()
    report = export(stores, tmp_path / "hashes", release="2.9.2", include_password_hashes=True)
    assert report.password_hashes
    assert lines(tmp_path / "hashes", "users")[0]["password_hash"] == "scrypt:32768:8:1$x$ab"


def test_a_registry_of_its_own_is_read_from_there(tmp_path: Path) -> None:
    tracking, registry = make_database(tmp_path / "t.db"), make_database(tmp_path / "r.db", Role.TRACKING)
    registry.role = Role.REGISTRY
    execute(tmp_path / "t.db", "DELETE FROM model_versions", "DELETE FROM registered_models")
    execute(tmp_path / "r.db", "DELETE FROM metrics")
    report = export({Role.TRACKING: tracking, Role.REGISTRY: registry}, tmp_path / "out", release="2.9.2")
    assert (report.lines("registered_models"), report.lines("metrics")) == (2, 168)


def test_artifacts_are_copied_where_asked(stores: dict[Role, Store], tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "1").mkdir(parents=True)
    (root / "1/model.pkl").write_bytes(b"weights")
    os.mkfifo(root / "pipe")
    roots = {"mlflow-artifacts:/": LocalArtifacts(root)}
    report = export(stores, tmp_path / "out", release="2.9.2", artifacts=roots)
    (line,) = lines(tmp_path / "out", "artifacts")
    assert (tmp_path / "out" / line["file"]).read_bytes() == b"weights"
    assert line["sha256"] == sha256(root / "1/model.pkl")
    assert report.artifacts == "copy"
    assert report.left_out_artifacts == {"mlflow-artifacts:/ pipe": "not a regular file"}


def test_values_json_cannot_hold_are_text() -> None:
    assert [plain(value) for value in (math.nan, math.inf, -math.inf, b"\0\1", 1.5, None, True)] == [
        "NaN", "Infinity", "-Infinity", "AAE=", 1.5, None, True,
    ]  # fmt: skip


def test_an_infinity_in_the_database_is_text(tmp_path: Path) -> None:
    store = make_database(tmp_path / "mlflow.db")
    run = data(Role.TRACKING)["runs"][0]["run_uuid"]
    execute(tmp_path / "mlflow.db", f"INSERT INTO metrics VALUES ('huge', 9e999, 1, '{run}', 1, 0)")
    export({Role.TRACKING: store}, tmp_path / "out", release="2.9.2")
    assert [p["value"] for p in lines(tmp_path / "out", "metrics") if p["key"] == "huge"] == ["Infinity"]


def test_it_never_overwrites_and_a_failure_leaves_nothing(stores: dict[Role, Store], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in ("mine", "file"):
        with pytest.raises(Refused, match="exists already"):
            export(stores, tmp_path / taken, release="2.9.2")
    with pytest.raises(LiftlockError, match="no export can be written"):
        export(stores, tmp_path / "file" / "out", release="2.9.2")
    (tmp_path / "auth.db").write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError):
        export(stores, tmp_path / "out", release="2.9.2")
    assert not list(tmp_path.glob("out*"))


EXPORT = """
import sys
from pathlib import Path
from liftlock.export.write import export
from tests.support.backups import reopened
sources = reopened(Path(sys.argv[1]))
export(sources.stores, Path(sys.argv[1]) / "out", release="2.9.2", artifacts=sources.artifacts)
"""


def test_an_export_killed_at_any_effect_is_whole_or_absent_and_can_be_repeated(
    stores: dict[Role, Store], tmp_path: Path
) -> None:
    (tmp_path / "mlartifacts").mkdir()
    log = tmp_path / "effects"
    run = [sys.executable, "-c", EXPORT, str(tmp_path)]
    env = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    subprocess.run(run, env={**env, "LIFTLOCK_EFFECTS_LOG": str(log)}, check=True)
    (tmp_path / "out").rename(tmp_path / "reference")
    for name in dict.fromkeys(log.read_text().splitlines()):
        killed = subprocess.run(run, env={**env, "LIFTLOCK_CRASH_AT": f"after:{name}"}, capture_output=True)
        assert killed.returncode == -signal.SIGKILL, name
        assert (tmp_path / "out").exists() == (name == "publish export"), name
        if not (tmp_path / "out").exists():
            export(stores, tmp_path / "out", release="2.9.2", artifacts={"x": LocalArtifacts(tmp_path / "mlartifacts")})
        (tmp_path / "out").rename(tmp_path / f"done {name}")
        assert not (tmp_path / "out.partial").exists()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresHarness]:
    harness = PostgresHarness(tmp_path_factory.mktemp("pg"))
    harness.start()
    try:
        yield harness
    finally:
        harness.stop()


def test_postgresql_gives_the_same_files_as_sqlite(
    stores: dict[Role, Store], postgres: PostgresHarness, tmp_path: Path
) -> None:
    same = {role: postgres.new_store(role, f"export_{role}") for role in stores}
    export(stores, tmp_path / "sqlite", release="2.9.2")
    report = export(same, tmp_path / "postgresql", release="2.9.2")
    for file in report.files:
        one, two = (lines(tmp_path / engine, file.name.removesuffix(".jsonl")) for engine in ("sqlite", "postgresql"))
        assert sorted(map(json.dumps, one)) == sorted(map(json.dumps, two)), file.name
