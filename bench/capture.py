"""What capture costs people who write: real MLflow over HTTP, as they use it, and raw SQL beside it.

The write throughput of a tracking server is how many requests it answers. So a client of MLflow 2.9.2's REST API writes
as a training does (a run, its parameters, a tag, twenty batches of twenty metrics, a single metric, its end), to a real
server with one worker and 100,000 metric rows; capture is put on and taken away in turn. Beside it statements of the
same kinds straight to the database, where nothing is done but the database's own work.

Processor time is that of the server and of all processes of PostgreSQL (of this process for SQLite's raw SQL): whoever
is asked as fast as it can answer answers as many more requests as a request costs less. The clock is shown too; on a
loaded machine it says little.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from bench.standard import SOURCE, fill
from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.stores.live import Live
from liftlock.stores.opening import live, open_store
from tests.support import upgrades
from tests.support.live import Writer, writer

GOAL = 0.10
ROUNDS = 11
TRAININGS = 3  # of a round of requests
BATCHES = 20  # of a training
STATEMENTS = 3000  # of a round of raw SQL, and a fifth of it where each has twenty rows
ROWS = 100_000

_METRIC = "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) VALUES "
_RAW: dict[str, Callable[[int, str], str]] = {
    "one metric": lambda n, run: f"{_METRIC} ('m', {n}.5, {n}, '{run}', {n}, CAST(1 = 0 AS BOOLEAN))",
    "twenty metrics": lambda n, run: (
        _METRIC + ", ".join(f"('m{k}', {n}.5, {n}, '{run}', {n}, CAST(1 = 0 AS BOOLEAN))" for k in range(20))
    ),
    "a run's end": lambda n, run: f"UPDATE runs SET end_time = {n} WHERE run_uuid = '{run}'",
    "a tag set again": lambda n, run: (
        f"INSERT INTO tags VALUES ('t{n % 7}', '{n}', '{run}') "
        "ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"
    ),
}


def cpu(*, own: bool) -> float:
    """Processor time so far of all our children (the tracking server, PostgreSQL), and of this process."""
    me = psutil.Process()
    total = time.process_time() if own else 0.0
    for each in me.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found = each.cpu_times()
            total += found.user + found.system + found.children_user + found.children_system
    return total


def spent(work: Callable[[], int], *, own: bool) -> tuple[float, float]:
    """Seconds that a unit of work takes: by the clock, and of processor time."""
    began, used = time.perf_counter(), cpu(own=own)
    units = work()
    return (time.perf_counter() - began) / units, (cpu(own=own) - used) / units


def _call(url: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.request("POST", f"/api/2.0/mlflow/{path}", json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    read = answer.read()
    assert answer.status == 200, read
    connection.close()
    return dict(json.loads(read))


def trainings(url: str) -> int:
    """Some trainings; how many requests that was."""
    return sum(_training(url) for _ in range(TRAININGS))


def _training(url: str) -> int:
    run = _call(url, "runs/create", {"experiment_id": "0", "start_time": 1})["run"]["info"]["run_id"]
    params = [{"key": f"p{n}", "value": str(n)} for n in range(10)]
    _call(url, "runs/log-batch", {"run_id": run, "params": params})
    _call(url, "runs/set-tag", {"run_id": run, "key": "kind", "value": "bench"})
    for step in range(BATCHES):
        metrics = [{"key": f"m{n}", "value": step + n / 7, "timestamp": step, "step": step} for n in range(20)]
        _call(url, "runs/log-batch", {"run_id": run, "metrics": metrics})
    _call(url, "runs/log-metric", {"run_id": run, "key": "loss", "value": 0.1, "timestamp": 1, "step": 1})
    _call(url, "runs/update", {"run_id": run, "status": "FINISHED", "end_time": 2})
    return BATCHES + 5


def statements(client: Writer, kind: str, run: str) -> Callable[[], int]:
    """Statements of one kind, twenty to a transaction, with the engine's own durability."""
    numbers = itertools.count(10**8)

    def work() -> int:
        count = STATEMENTS // 5 if kind == "twenty metrics" else STATEMENTS
        for done in range(1, count + 1):
            client.execute(_RAW[kind](next(numbers), run))
            if done % 20 == 0:
                client.commit()
        return count

    return work


def cost(found: Live, work: Callable[[], int], *, own: bool) -> tuple[list[float], list[float]]:
    """What capture takes of the throughput, by the clock and by processor time, a part of one for each round."""
    clock, used = [], []
    for turn in range(ROUNDS):
        seconds = {}
        for captured in (True, False) if turn % 2 else (False, True):
            found.capture() if captured else found.release()
            work()  # plans and caches are made anew
            seconds[captured] = spent(work, own=own)
        clock.append(1 - seconds[False][0] / seconds[True][0])
        used.append(1 - seconds[False][1] / seconds[True][1])
    found.release()
    return clock, used


def _show(name: str, clock: list[float], used: list[float]) -> float:
    def part(values: list[float]) -> str:
        ordered = sorted(values)
        spread = f"({ordered[1] * 100:.1f} to {ordered[-2] * 100:.1f})"
        return f"{statistics.median(values) * 100:6.1f} % {spread:>16}"

    print(f"  {name:<24} processor time {part(used)}   clock {part(clock)}", flush=True)
    return statistics.median(used)


def _engine(name: str) -> bool:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liftlock-bench-")))
        server = stack.enter_context(PostgresServer(place / "postgres")) if name == "postgresql" else None
        (place / "made").mkdir()
        made = stack.enter_context(upgrades.deployment(SOURCE, place / "made", server=server, auth=False))
        fill(made, server, ROWS)
        store = open_store(made.uris[Role.TRACKING], Role.TRACKING)
        found = live(store)
        print(f" {name}: share of the throughput that capture takes, median of {ROUNDS} alternated rounds (all but "
              "the least and the greatest)")  # fmt: skip
        met = _show("requests to MLflow", *cost(found, lambda: trainings(made.url), own=False)) <= GOAL
        (run,) = (row["run_uuid"] for row in store.rows("SELECT run_uuid FROM runs LIMIT 1"))
        with writer(store, durable=True) as client:
            for kind in _RAW:
                _show(f"raw SQL: {kind}", *cost(found, statements(client, kind, str(run)), own=server is None))
    return met


def main() -> int:
    """Both engines; 1 where real requests pay more than the goal."""
    missed = [name for name in ("sqlite", "postgresql") if not _engine(name)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
