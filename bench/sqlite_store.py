"""SQLite: snapshot against `cp`, verification, fingerprint in rows per second, and how long a writer waits meanwhile.

The database has a million metric rows in MLflow's schema (about 190 MB) and is held open by an idle process, as a
server would. Rounds alternate, with the file warm in the page cache and then evicted from it. A snapshot is on disk and
hashed when it returns; a plain `cp` is neither, so `cp` followed by fsync, and by sha256sum too, are shown beside it.
The goal is against `cp` with both copies on disk, from a cold and from a warm source: what is only in the page cache is
no backup yet, and how fast it gets there is the memory's speed.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from liftlock.backup.catalog import find
from liftlock.backup.create import Sources, create
from liftlock.backup.verify import verify
from liftlock.files import sync_file
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores.sqlite import SqliteStore
from liftlock.stores.sqlite_copy import copy_database

ROWS = 1_000_000
GOAL = 0.8  # of the speed of `cp` + fsync
FINGERPRINT_GOAL = 500_000  # rows a second
ROUNDS = 7

_SCHEMA = """
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250));
CREATE TABLE metrics (
  key VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL, run_uuid VARCHAR(32) NOT NULL,
  step BIGINT DEFAULT 0 NOT NULL, is_nan BOOLEAN DEFAULT 0 NOT NULL,
  CONSTRAINT metric_pk PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan),
  FOREIGN KEY (run_uuid) REFERENCES runs (run_uuid));
CREATE INDEX index_metrics_run_uuid ON metrics (run_uuid);
"""

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM runs").fetchone()
print("open", flush=True)
sys.stdin.read()
"""

_WRITE = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], timeout=20, isolation_level=None)
connection.execute("PRAGMA synchronous = OFF")
pause, seconds, number, longest = float(sys.argv[2]), float(sys.argv[3]), 0, 0.0
print("open", flush=True)
end = time.monotonic() + seconds
while time.monotonic() < end:
    number += 1
    started = time.monotonic()
    values = (float(sys.argv[2]), number, time.time_ns())
    connection.execute("INSERT INTO metrics VALUES ('bench', ?, ?, 'r', ?, 0)", values)
    longest = max(longest, time.monotonic() - started)
    time.sleep(pause)
print(number, longest)
"""


def _make(path: Path) -> None:
    generator = random.Random(1)
    runs = [f"{generator.getrandbits(128):032x}" for _ in range(1000)]
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
        connection.executemany("INSERT INTO runs VALUES (?, 'run')", ((run,) for run in runs))
        connection.executemany(
            "INSERT INTO metrics VALUES (?, ?, ?, ?, ?, 0)",
            (
                (f"metric_{key}", generator.random(), 1700000000000 + step * 1000, run, step)
                for run in runs
                for key in range(10)
                for step in range(ROWS // 10_000)
            ),
        )
        connection.commit()


def _timed(action: Callable[[Path], object], target: Path) -> float:
    started = time.perf_counter()
    action(target)
    return time.perf_counter() - started


def _show(name: str, values: list[float], unit: str) -> None:
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"  {name:<58} {middle:>10.2f} {unit:<8} ({low:.2f} to {high:.2f})")


def _evict(path: Path) -> None:
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _copies(store: SqliteStore, place: Path, *, cold: bool) -> float:
    """How fast a snapshot is against `cp` with both on disk."""
    target = place / "snapshot"

    def cp(to: Path) -> None:
        subprocess.run(["cp", str(store.path), str(to / "cp")], check=True)

    def cp_and_flush(to: Path) -> None:
        cp(to)
        sync_file(to / "cp")

    def cp_flush_and_hash(to: Path) -> None:
        cp_and_flush(to)
        subprocess.run(["sha256sum", str(to / "cp")], check=True, stdout=subprocess.DEVNULL)

    ways: dict[str, Callable[[Path], object]] = {
        "cp": cp,
        "cp + fsync": cp_and_flush,
        "cp + fsync + sha256sum": cp_flush_and_hash,
        "snapshot": store.snapshot,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir(mode=0o700)
            os.sync()
            time.sleep(0.25)  # the disk discards what was removed, which is nobody's time
            if cold:
                _evict(store.path)
            times[name].append(_timed(way, target))
    print(f" {'cold' if cold else 'warm'} page cache")
    for name, values in times.items():
        _show(name, [value * 1000 for value in values], "ms")
    for name in list(ways)[:-1]:
        _show(
            f"snapshot, speed against {name}", [b / a for a, b in zip(times["snapshot"], times[name], strict=True)], "x"
        )
    return statistics.median(times["cp + fsync"]) / statistics.median(times["snapshot"])


def _idle(store: SqliteStore, place: Path) -> bool:
    size = store.path.stat().st_size / 1e6
    print(f"SQLite, {size:.0f} MB, {ROWS:,} metric rows, open in an idle process; {ROUNDS} rounds")
    speeds = [_copies(store, place, cold=cold) for cold in (False, True)]
    sources = Sources(stores={Role.TRACKING: store}, release="2.9.2")
    made, proven, rows = [], [], []
    blocked = 0.0
    for _ in range(ROUNDS):
        backups = place / "backups"
        shutil.rmtree(backups, ignore_errors=True)
        made.append(_timed(lambda to: create(sources, to), backups))
        proven.append(_timed(lambda to: verify(to, "latest", stores=sources.stores), backups))
        saved = find(backups, "latest")
        assert saved.verified_at
        blocked = max(blocked, saved.stores[0].longest_block_seconds)
        fingerprint = store.fingerprint()
        rows.append(fingerprint.rows / fingerprint.seconds)
    _show("backup create", [value * 1000 for value in made], "ms")
    _show("backup verify (checksums, restore, check, fingerprint)", [value * 1000 for value in proven], "ms")
    _show("create and verify", [(a + b) * 1000 for a, b in zip(made, proven, strict=True)], "ms")
    _show("fingerprint", [value / 1000 for value in rows], "k rows/s")
    print(f"  longest time a lock was held by a snapshot: {blocked * 1000:.1f} ms")
    return min(speeds) >= GOAL and statistics.median(rows) >= FINGERPRINT_GOAL


def _busy(store: SqliteStore, place: Path) -> None:
    for pause in (0.1, 0.005):
        target = place / "busy"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        child = subprocess.Popen(
            [sys.executable, "-c", _WRITE, str(store.path), str(pause), "12"], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout
        child.stdout.readline()
        started = time.perf_counter()
        copied = copy_database(store.path, target / "copy")
        seconds = time.perf_counter() - started
        number, longest = child.communicate(timeout=120)[0].split()
        print(
            f"  a commit every {pause * 1000:.0f} ms: copy by {copied.how} in {seconds:.1f} s, lock held at most "
            f"{copied.longest_block_seconds * 1000:.0f} ms, slowest of {number} commits {float(longest) * 1000:.0f} ms"
        )


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="liftlock-bench-") as name:
        place = Path(name)
        path = place / "mlflow.db"
        _make(path)
        uri = StoreUri(engine=Engine.SQLITE, scheme="sqlite", database=str(path))
        store = SqliteStore(uri, Role.TRACKING)
        with subprocess.Popen(
            [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as holder:
            assert holder.stdout
            holder.stdout.readline()
            met = _idle(store, place)
            holder.communicate("")
        _busy(store, place)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
