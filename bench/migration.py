"""Is a plan's figure for migrations right? A real old schema with rows, migrated by a real new release on both engines,
and held against what `knowledge.costs` says beforehand.

5,000 runs with 200 metric points, 20 params and 20 tags each, 1,000 model versions, in the schema of MLflow 2.9.2. CPU
seconds are of the migrating process and, for PostgreSQL, of the server, so they hardly depend on what else runs.
"""

from __future__ import annotations

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import psycopg

from liftlock.demo.postgres import PostgresServer
from liftlock.knowledge import costs
from liftlock.knowledge.catalogue import load
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import Engine, StoreUri
from liftlock.proc import run
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environments
from liftlock.releases.tools import WarmWorker
from liftlock.releases.worker import Worker
from liftlock.report.text import table

SOURCE, TARGET = Release(version="2.9.2"), Release(version="3.17.2")
RUNS, POINTS, WORDS, VERSIONS = 5_000, 200, 20, 1_000
_MAKE = "import sys; from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as S; S(sys.argv[1], 'a')"
_N = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {many}) SELECT {columns} FROM n"
_RUN = "'run-' || (i / {each})"
_ROWS: tuple[tuple[str, str, int, str], ...] = (
    ("runs", "run_uuid, name, status, experiment_id, lifecycle_stage", RUNS,
     "'run-' || i, 'n', 'FINISHED', 0, 'active'"),
    ("metrics", "key, value, timestamp, run_uuid, step, is_nan", RUNS * POINTS,
     f"'m' || (i % 4), i * 0.5, 1700000000000 + i, {_RUN.format(each=POINTS)}, i, {{false}}"),
    ("params", "key, value, run_uuid", RUNS * WORDS, f"'p' || i, 'value ' || i, {_RUN.format(each=WORDS)}"),
    ("tags", "key, value, run_uuid", RUNS * WORDS,
     f"'t' || i, 'a value of forty characters or so, as such are ' || i, {_RUN.format(each=WORDS)}"),
    ("registered_models", "name", VERSIONS // 5, "'model-' || i"),
    ("model_versions", "name, version, current_stage", VERSIONS, "'model-' || (i % {models}), i, 'None'"),
    ("model_version_tags", "name, version, key, value", VERSIONS, "'model-' || (i % {models}), i, 'k', 'v'"),
)  # fmt: skip


def main() -> bool:
    """Print the table; whether a migration took longer or shorter than its range."""
    environments = Environments()
    old, new = (environments.build(each, drivers={Engine.POSTGRESQL}) for each in (SOURCE, TARGET))
    revisions = load().jump(SOURCE, TARGET).tracking
    lines, missed = [], False
    with tempfile.TemporaryDirectory(prefix="migration-") as place, PostgresServer(Path(place) / "pg") as server:
        for uri in (StoreUri.parse(f"sqlite:///{place}/mlflow.db"), server.create_database("mlflow")):
            run([old.python, "-c", _MAKE, uri.reveal()], timeout=120, env=clean_environment())
            rows = {name: many for name, _, many, _ in _ROWS} | {"experiments": 1}
            _fill(uri)
            said = costs.together(Role.TRACKING, revisions, rows, uri.engine)
            assert said is not None
            with Worker(new.python, f"MLflow {TARGET}") as worker:
                worker.call("migrate", "warm", {"auth": False}, timeout=120)
                warm = WarmWorker(worker, TARGET)
                cpu = _cpu(worker.pid, server if uri.engine is Engine.POSTGRESQL else None)
                before, began = cpu(), time.perf_counter()
                warm.migrate(uri, Role.TRACKING, timeout=600)
                took, wall = cpu() - before, time.perf_counter() - began
            missed |= not said[0] <= took <= said[1]
            planned = f"{said[0]:.1f} to {said[1]:.1f} s"
            lines.append((uri.engine.value, len(revisions), planned, f"{took:.1f} s", f"{wall:.1f} s"))
    print(table(("engine", "revisions", "planned", "CPU", "by the clock"), lines))
    return missed


def _fill(uri: StoreUri) -> None:
    false = "0" if uri.engine is Engine.SQLITE else "false"
    statements = [
        f"INSERT INTO {name} ({names}) "
        + _N.format(many=many, columns=columns.format(false=false, models=VERSIONS // 5))
        for name, names, many, columns in _ROWS
    ]
    if uri.engine is Engine.SQLITE:
        with closing(sqlite3.connect(uri.path)) as file, file:
            for statement in statements:
                file.execute(statement)
        return
    with psycopg.connect(uri.reveal(), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        connection.execute(b"ANALYZE")


def _cpu(pid: int, server: PostgresServer | None) -> Callable[[], float]:
    """CPU seconds so far, of a process and of a server with all it started."""

    def spent() -> float:
        time.sleep(0.1)  # a server process that ends has its time counted a moment later
        times = psutil.Process(pid).cpu_times()
        total = float(times.user + times.system)
        if server is not None:
            head = psutil.Process(int((server.data / "postmaster.pid").read_text().split()[0]))
            mine = head.cpu_times()
            total += mine.user + mine.system + mine.children_user + mine.children_system
            for child in head.children():
                theirs = child.cpu_times()
                total += theirs.user + theirs.system
        return total

    return spent


if __name__ == "__main__":
    sys.exit(main())
