"""Online upgrade, one database: what capture costs writers, and how fast the copy catches up with them.

Writers are a client that commits batches as MLflow's server does (one run, twenty metrics, their latest values) with
the engine's defaults, with and without capture in alternation. The backlog is 150,000 to 600,000
keys of metrics, followed in portions. Both engines, the tables of the conformance suite.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.stores.live import Live
from liftlock.stores.opening import live
from tests.support.harness import StoreHarness, make_harness
from tests.support.live import equal, follow, prepare, writer

ROWS = 300_000
PORTION = 20_000
ROUNDS = 7
BATCHES = 150
GOALS = {Engine.SQLITE: 100_000, Engine.POSTGRESQL: 50_000}
_FILL = {
    Engine.SQLITE: "INSERT INTO metrics WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n "
    "WHERE i < {rows} - 1) SELECT 'metric_' || (i % 10), i / 7.0, 1700000000000 + i, printf('%032x', i % 6), i, 0 "
    "FROM n",
    Engine.POSTGRESQL: "INSERT INTO metrics SELECT 'metric_' || (i % 10), i / 7.0, 1700000000000 + i, "
    "lpad(to_hex(i % 6), 32, '0'), i, false FROM generate_series(0, {rows} - 1) i",
}
_ONCE_MORE = "INSERT INTO metrics SELECT key, value, timestamp, run_uuid, step + 10000000, is_nan FROM metrics"
_METRIC = "INSERT INTO metrics (key, value, timestamp, run_uuid, step) VALUES (:key, :value, :time, :run, :step)"
_TAG = "INSERT INTO tags VALUES (:key, :value, :run) ON CONFLICT (key, run_uuid) DO UPDATE SET value = excluded.value"


def _batches(found: Live, start: int) -> tuple[float, float]:
    """Batches a second, by the clock and by our own CPU time (SQLite works inside the client)."""
    with writer(found.store, durable=True) as client:
        began, cpu = time.perf_counter(), time.process_time()
        for batch in range(start, start + BATCHES):
            run = f"{batch % 6:032x}"
            for key in range(20):
                values = {
                    "key": f"m{key}",
                    "value": batch / 3,
                    "time": 1800000000000 + batch,
                    "run": run,
                    "step": batch,
                }
                client.execute(_METRIC, values)
                client.execute(_TAG, {"key": f"m{key}", "value": str(batch), "run": run})
            client.execute("UPDATE runs SET end_time = :time WHERE run_uuid = :run", {"time": batch, "run": run})
            client.commit()
        return BATCHES / (time.perf_counter() - began), BATCHES / (time.process_time() - cpu)


def _cost(found: Live) -> float:
    """What capture takes of a writer's throughput, as a part of one."""
    clock: list[float] = []
    cpu: list[float] = []
    start = 0
    for turn in range(ROUNDS):
        rates = {}
        for captured in (True, False) if turn % 2 else (False, True):
            found.capture() if captured else found.release()
            start += BATCHES
            rates[captured] = _batches(found, start)
        clock.append(1 - rates[True][0] / rates[False][0])
        cpu.append(1 - rates[True][1] / rates[False][1])
    _show("capture costs a writer, by the clock", clock)
    if found.store.uri.engine is Engine.SQLITE:
        _show("capture costs a writer, CPU time", cpu)
    return statistics.median(clock)


def _show(name: str, values: list[float]) -> None:
    print(
        f"  {name:<44} {statistics.median(values) * 100:>8.1f} %        "
        f"({min(values) * 100:.1f} to {max(values) * 100:.1f}, {len(values)} rounds)"
    )


def _catch_up(found: Live, change: str, name: str) -> float:
    """Keys a second from the log into a copy."""
    found.release()
    found.capture()
    green = found.store.scratch("green")
    try:
        found.copy_to(green)
        with writer(found.store) as client:
            client.execute(change)
            client.commit()
        sink, keys, longest = live(green), 0, 0.0
        began, cpu = time.perf_counter(), time.process_time()
        while found.backlog():
            started = time.perf_counter()
            keys += follow(found, sink, PORTION)
            longest = max(longest, time.perf_counter() - started)
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        wrong = equal(found.store, green)
        print(
            f"  {name:<44} {keys / seconds:>8,.0f} keys/s   ({keys:,} keys; {keys / used:,.0f} in a second of our CPU, "
            f"longest epoch {longest:.2f} s{', NOT EQUAL: ' + ', '.join(wrong) if wrong else ''})"
        )
        return 0.0 if wrong else keys / seconds
    finally:
        green.drop()


def _engine(harness: StoreHarness) -> bool:
    store = harness.new_store(Role.TRACKING, "bench")
    prepare(harness, store)
    found = live(store)
    cost = _cost(found)
    found.release()
    harness.execute(store, _FILL[harness.engine].format(rows=ROWS))
    rates = [
        _catch_up(found, "UPDATE metrics SET is_nan = NOT is_nan", "catching up, every row has a new key"),
        _catch_up(found, "DELETE FROM metrics WHERE step % 2 = 1", "catching up, every second row deleted"),
        _catch_up(found, _ONCE_MORE, "catching up, every row once more"),
    ]
    return cost <= 0.1 and min(rates) >= GOALS[harness.engine]


def main() -> bool:
    met = True
    for engine in GOALS:
        print(f" {engine.value}: {ROWS:,} metric rows, portions of {PORTION:,}")
        with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as name:
            harness = make_harness(engine, Path(name))
            harness.start()
            try:
                met &= _engine(harness)
            finally:
                harness.stop()
    return not met


if __name__ == "__main__":
    sys.exit(main())
