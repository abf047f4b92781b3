"""Export: runs per second of liftlock and of mlflow-export-import, side by side on one real 2.9.2 server.

Both export the same experiment (200 runs with 100 metric points, 20 params) as a child process, start included.
Then liftlock alone, on the same database grown to 5,000 such runs, where its fixed costs no longer show.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import urllib3
import uv

from liftlock.errors import CommandFailed
from liftlock.proc import kill_group, run, spawn
from liftlock.releases.proof import free_port

RELEASE = "2.9.2"
RUNS = 200
GROWN = 5000
ROUNDS = 3
TARGET = 20.0
PACKAGES = (f"mlflow=={RELEASE}", "mlflow-export-import==1.2.0", "sqlalchemy<2.1", "setuptools<81")

_FILL = f"""
import sys
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("bench")
for number in range({RUNS}):
    made = client.create_run(experiment, run_name=f"run {{number}}")
    client.log_batch(made.info.run_id,
        metrics=[Metric(f"m{{key}}", key + 1 / (step + 1), 1700000000000 + step, step)
                 for key in range(10) for step in range(10)],
        params=[Param(f"p{{key}}", str(key)) for key in range(20)])
    client.set_terminated(made.info.run_id)
"""

_EXPORT = """
import sys
from pathlib import Path
from liftlock.export.write import export
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.stores.opening import open_store
store = open_store(StoreUri.parse(f"sqlite:///{sys.argv[1]}"), Role.TRACKING)
print(export({Role.TRACKING: store}, Path(sys.argv[2]), release=sys.argv[3]).lines("runs"))
"""


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as name:
        place = Path(name)
        try:
            python = _environment(place / "venv")
        except CommandFailed as error:
            print(f"mlflow-export-import could not be installed, so there is nothing to compare with: {error}")
            return 1
        database = place / "mlflow.db"
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with (place / "server.log").open("wb") as log:
            server = spawn(
                [python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
                 "--backend-store-uri", f"sqlite:///{database}", "--artifacts-destination", place / "artifacts"],
                env={**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}, cwd=place, stdout=log,
            )  # fmt: skip
        try:
            _wait(url)
            run([python, "-c", _FILL, url], timeout=300)
            ours, theirs = [], []
            for number in range(ROUNDS):
                ours.append(_liftlock(database, place / f"ours-{number}", RUNS))
                theirs.append(_peer(python, url, place / f"theirs-{number}"))
        finally:
            kill_group(server.pid, signal.SIGTERM)
            server.wait(30)
            kill_group(server.pid)
        _grow(database)
        grown = [_liftlock(database, place / f"grown-{number}", GROWN) for number in range(ROUNDS)]
    ratio = statistics.median(theirs) / statistics.median(ours)
    print(f"export of {RUNS} runs x 100 metric points, MLflow {RELEASE} on SQLite, server running, start included")
    print(f"  mlflow-export-import  {_shown(theirs, RUNS)}")
    print(f"  liftlock              {_shown(ours, RUNS)}")
    print(f"  ratio                 {ratio:.1f} x  (target {TARGET:.0f} x)")
    print(f"export of {GROWN} such runs")
    print(f"  liftlock              {_shown(grown, GROWN)}")
    return 0 if ratio >= TARGET else 1


def _environment(place: Path) -> Path:
    tool = uv.find_uv_bin()
    run([tool, "venv", "--quiet", "--python", sys.executable, place], timeout=120)
    python = place / "bin" / "python"
    run([tool, "pip", "install", "--quiet", "--python", python, *PACKAGES], timeout=600, what="uv pip install")
    return python


def _wait(url: str) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            if urllib3.request("GET", f"{url}/health", timeout=2.0, retries=False).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def _liftlock(database: Path, target: Path, expected: int) -> float:
    started = time.perf_counter()
    done = run([sys.executable, "-c", _EXPORT, database, target, RELEASE], timeout=300)
    seconds = time.perf_counter() - started
    assert int(done.stdout) == expected
    shutil.rmtree(target)
    return seconds


def _peer(python: Path, url: str, target: Path) -> float:
    started = time.perf_counter()
    run(
        [python.parent / "export-experiment", "--experiment", "bench", "--output-dir", target],
        timeout=300, env={**os.environ, "MLFLOW_TRACKING_URI": url},
    )  # fmt: skip
    seconds = time.perf_counter() - started
    assert len(list(target.glob("*/run.json"))) == RUNS
    return seconds


def _grow(database: Path) -> None:
    """Repeat the runs, under new ids, until there are enough."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for table in ("runs", "params", "tags", "latest_metrics", "metrics"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            shown = ", ".join("printf('g%02d', n) || substr(run_uuid, 4)" if x == "run_uuid" else x for x in names)
            connection.execute(
                f"WITH RECURSIVE t(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM t WHERE n < {GROWN // RUNS - 2}) "
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {shown} FROM {table}, t WHERE true"
            )


def _shown(seconds: list[float], runs: int) -> str:
    middle = statistics.median(seconds)
    return f"{runs / middle:8.0f} runs/s   {middle:.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


if __name__ == "__main__":
    raise SystemExit(main())
