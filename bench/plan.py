"""How long `liftlock plan` takes without a rehearsal, on a real old server with a million metric rows.

Whole processes (start, look, decide, print), the target's environment being in the cache; the median of five.
"""

from __future__ import annotations

import resource
import sqlite3
import statistics
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.plan_example import TARGET, deployment
from liftlock.report.text import table

ROWS = 1_000_000
GOAL = 3.0
RUNS = 5
_INSERT = """
INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan)
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?)
SELECT 'bench' || (i % 40), i * 0.5, 1700000000000 + i, (SELECT run_uuid FROM runs LIMIT 1), i, 0 FROM n
"""


def main() -> bool:
    """Print the table; whether the goal was missed."""
    with deployment() as config:
        with closing(sqlite3.connect(config.parent / "mlflow.db")) as database, database:
            database.execute(_INSERT, (ROWS,))
        _plan(config)  # builds the target's environment where the cache has none
        took = []
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        for _ in range(RUNS):
            started = time.perf_counter()
            _plan(config)
            took.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / RUNS
    median = statistics.median(took)
    print(
        table(
            ("command", "median", "slowest", "CPU", "goal"),
            [
                (
                    f"liftlock plan, {ROWS:,} metrics",
                    f"{median:.2f} s",
                    f"{max(took):.2f} s",
                    f"{cpu:.2f} s",
                    f"{GOAL} s",
                )
            ],
        )
    )
    return median > GOAL


def _plan(config: Path) -> None:
    words = [sys.executable, "-m", "liftlock.cli.main", "--config", str(config), "plan", "--to", TARGET]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
