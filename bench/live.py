"""How fast an online upgrade catches up with a long log: a million changed keys among three million metric rows.

The upgrade's own loop (`converge`: epochs, reading back, consumption) between a captured database and its captured
copy, both engines, fsync on. Three backlogs: keys that were changed (each counts twice: the row that goes and the one
that comes), rows deleted, rows inserted. In the end both sides are compared. LIVE_ROWS sets the size; a third of it is
the backlog. Processor time is of this process and of all of PostgreSQL's; on two free processors PostgreSQL's reading
and writing sides work at the same time.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from bench.capture import cpu
from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.online.flow import Flow
from liftlock.online.translate import Translator
from liftlock.online.translation import translation
from liftlock.stores.opening import live
from tests.support.harness import StoreHarness, make_harness
from tests.support.live import equal, prepare, write

ROWS = int(os.environ.get("LIVE_ROWS", "3000000"))
GOALS = {Engine.SQLITE: 100_000, Engine.POSTGRESQL: 50_000}
_FILL = {
    Engine.SQLITE: "INSERT INTO metrics WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n "
    "WHERE i < {rows} - 1) SELECT 'metric_' || (i % 10), i / 7.0, 1700000000000 + i, printf('%032x', i % 6), i, 0 "
    "FROM n",
    Engine.POSTGRESQL: "INSERT INTO metrics SELECT 'metric_' || (i % 10), i / 7.0, 1700000000000 + i, "
    "lpad(to_hex(i % 6), 32, '0'), i, false FROM generate_series(0, {rows} - 1) i",
}
_CHANGES = {
    "keys changed": "UPDATE metrics SET is_nan = NOT is_nan WHERE step % 6 = 0",
    "rows deleted": "DELETE FROM metrics WHERE step % 3 = 1",
    "rows inserted": "INSERT INTO metrics SELECT key, value, timestamp, run_uuid, step + 10000000, is_nan FROM metrics "
    "WHERE step % 3 = 0",
}


def _harness(engine: Engine, directory: Path) -> StoreHarness:
    made = make_harness(engine, directory)
    if isinstance(server := getattr(made, "server", None), PostgresServer):
        server.durable = True
    return made


def _engine(harness: StoreHarness, directory: Path) -> bool:
    store = harness.new_store(Role.TRACKING, "bench")
    prepare(harness, store)
    harness.execute(store, _FILL[harness.engine].format(rows=ROWS))
    blue = live(store)
    blue.capture()
    copy = store.scratch("green")
    blue.copy_to(copy)
    green = live(copy)
    green.capture()
    shapes = blue.shapes()
    rules = Translator(translation(Role.TRACKING, (), shapes, green.shapes()), shapes, green.shapes(), None)
    flow = Flow(Role.TRACKING, blue, green, rules)
    rates = []
    for name, change in _CHANGES.items():
        write(store, change)
        began, used = time.perf_counter(), cpu(own=True)
        keys = converge([flow], Pace(), Control(directory / "control"))
        seconds, used = time.perf_counter() - began, cpu(own=True) - used
        rates.append(keys / seconds)
        print(
            f"  {name:<16} {keys / seconds:>9,.0f} keys/s   ({keys:,} keys; {used / keys * 1e6:.1f} us of CPU a key, "
            f"{keys / used:,.0f} keys in a second of CPU; load {os.getloadavg()[0]:.1f})",
            flush=True,
        )
    wrong = equal(store, copy)
    copy.drop()
    if wrong:
        print(f"  NOT EQUAL: {', '.join(wrong)}")
    return not wrong and min(rates) >= GOALS[harness.engine]


def main() -> int:
    """Both engines; 1 where the goal was missed."""
    met = True
    for engine, goal in GOALS.items():
        print(f" {engine.value}: {ROWS:,} metric rows, goal {goal:,} keys/s")
        with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as name:
            harness = _harness(engine, Path(name))
            harness.start()
            try:
                met &= _engine(harness, Path(name))
            finally:
                harness.stop()
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
