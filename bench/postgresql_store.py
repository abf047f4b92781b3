"""PostgreSQL: snapshot and restore against pg_dump and pg_restore, and fingerprint in rows per second.

A durable server of our own (fsync on) holds a million metric rows in MLflow's schema. Rounds alternate between the
plain tool and liftlock, and both replace a full database when they restore (the plain tool after dropping it, which
loses the old content first). liftlock's times include the fingerprint, the checksums and the comparison.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.model.snapshot import StoreSnapshot
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql import PostgresqlStore
from liftlock.stores.postgresql_connect import parameters

ROWS = 1_000_000
ROUNDS = 5

_SCHEMA = f"""
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250));
CREATE TABLE metrics (
  key VARCHAR(250) NOT NULL, value DOUBLE PRECISION NOT NULL, timestamp BIGINT NOT NULL,
  run_uuid VARCHAR(32) NOT NULL,
  step BIGINT DEFAULT 0 NOT NULL, is_nan BOOLEAN DEFAULT false NOT NULL,
  CONSTRAINT metric_pk PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan),
  FOREIGN KEY (run_uuid) REFERENCES runs (run_uuid));
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
INSERT INTO runs SELECT md5(i::text), 'run ' || i FROM generate_series(0, {ROWS // 1000}) i;
SELECT setseed(0.5);
INSERT INTO metrics SELECT 'metric_' || i % 20, random() * 100, 1700000000000 + i, md5((i / 1000)::text), i % 1000,
  false FROM generate_series(1, {ROWS}) i;
"""


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def shown(values: list[float]) -> str:
    return f"{statistics.median(values):6.2f} s  ({min(values):.2f}-{max(values):.2f})"


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="liftlock-bench-") as place,
        PostgresServer(Path(place) / "postgres") as server,
    ):
        uri = server.create_database("mlflow")
        with psycopg.connect(uri.reveal(), autocommit=True) as connection:
            connection.execute(_SCHEMA.encode())
            connection.execute("VACUUM ANALYZE")
        store = PostgresqlStore(uri, Role.TRACKING)
        with psycopg.connect(uri.reveal()) as connection:
            programs = tools.find_tools(connection.info.server_version // 10000)
        assert programs is not None
        given = parameters(uri)
        env, where = tools.environment(given), tools.target(given)
        plain, own = Path(place) / "plain", Path(place) / "own"

        def pg_dump() -> None:
            words: list[str | Path] = [programs.path("pg_dump"), "-Fd", "-j2", "-Z1", "-f", plain, f"--dbname={where}"]
            subprocess.run(words, env=env, check=True)

        def pg_restore() -> None:
            server.execute("DROP DATABASE plain")
            server.create_database("plain")
            target = tools.target(parameters(uri, database="plain"))
            subprocess.run([programs.path("pg_restore"), "-j2", f"--dbname={target}", plain], env=env, check=True)

        server.create_database("plain")
        pg_dump()
        pg_restore()  # so that every round replaces a full database, as a restore does
        times: dict[str, list[float]] = {
            name: [] for name in ("pg_dump", "snapshot", "pg_restore", "restore", "fingerprint")
        }
        snapshots: list[StoreSnapshot] = []
        for _ in range(ROUNDS):
            for directory in (plain, own):
                shutil.rmtree(directory, ignore_errors=True)
            own.mkdir(mode=0o700)
            times["pg_dump"].append(seconds(pg_dump))
            times["snapshot"].append(seconds(lambda: snapshots.append(store.snapshot(own))))
            times["fingerprint"].append(seconds(store.fingerprint))
            server.execute("CHECKPOINT")  # nobody pays for what another left to be written
            times["pg_restore"].append(seconds(pg_restore))
            server.execute("CHECKPOINT")
            times["restore"].append(seconds(lambda: store.restore(snapshots[-1], own)))
        stored = sum(entry.bytes for entry in snapshots[-1].files) / 1e6
        medians = {name: statistics.median(values) for name, values in times.items()}
        print(f"{ROWS} metric rows, PostgreSQL {snapshots[-1].engine_version}, {ROUNDS} alternated rounds")
        print(f"  pg_dump -Fd -j2 -Z1      {shown(times['pg_dump'])}")
        print(f"  snapshot                 {shown(times['snapshot'])}  {stored:.0f} MB")
        print(f"  drop, pg_restore -j2     {shown(times['pg_restore'])}")
        print(f"  restore                  {shown(times['restore'])}")
        print(f"  fingerprint              {shown(times['fingerprint'])}")
        dump, load = medians["pg_dump"] / medians["snapshot"], medians["pg_restore"] / medians["restore"]
        rate = ROWS / medians["fingerprint"]
        print(f"  snapshot is {dump:.2f}x pg_dump (goal 1.0), restore {load:.2f}x pg_restore (goal 1.0),")
        print(f"  fingerprint {rate / 1000:.0f} k rows/s (goal 800)")
        return 0 if dump >= 1 and load >= 1 and rate >= 800_000 else 1


if __name__ == "__main__":
    sys.exit(main())
