"""liftlock-tracking beside the plain client, in one run, on one real server of the newest release.

Latency of one `log_metric`, points a second end to end against the plain client's `log_batch`, import time and memory,
and what a job costs an application (seed 004's table: CPU, memory, disk, latency) without MLflow, with tracking, and
with tracking and tracing. Both clients are children of their own; the order alternates.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support import releases

PACKAGE = Path(__file__).resolve().parents[1] / "packages" / "tracking"
ROUNDS = 3

_LATENCY = """
import json, sys, time
from mlflow import MlflowClient
client, n = MlflowClient(), int(sys.argv[1])
run = client.create_run("0").info.run_id
client.log_metric(run, "warm", 1.0)
took = []
for i in range(n):
    began = time.perf_counter()
    client.log_metric(run, "m", 1.5, step=i)
    took.append(time.perf_counter() - began)
    time.sleep(0.001)
took.sort()
print(json.dumps({"median": took[n // 2], "p99": took[int(n * 0.99)], "max": took[-1]}))
"""

_THROUGHPUT = """
import json, sys, time
from mlflow import MlflowClient
from mlflow.entities import Metric
client, plain, n = MlflowClient(), sys.argv[1] == "plain", 20000
run = client.create_run("0").info.run_id
began = time.perf_counter()
for start in range(0, n, 1000):
    points = [Metric(f"m{i % 10}", i / 3, 1700000000000 + i, i) for i in range(start, start + 1000)]
    client.log_batch(run, metrics=points)
if not plain:
    import liftlock_tracking
    assert liftlock_tracking.flush(300)
print(json.dumps({"per_second": n / (time.perf_counter() - began)}))
"""


_PLUGIN_IMPORT = """
import json, sys, time
import atexit, contextlib, dataclasses, hashlib, pathlib, re, tempfile
began = time.perf_counter()
import liftlock_tracking.plugin
print(json.dumps({"seconds": time.perf_counter() - began}))
"""

_JOBS = """
import json, os, resource, sys, time
phase, jobs = sys.argv[1], 20
def rss():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
import mlflow
from liftlock_tracking import job_run, log_safely, stage_run
def job(number):
    with job_run(f"job-{number}"):
        for stage in ("retrieve", "answer"):
            with stage_run(stage):
                if phase == "tracing":
                    with mlflow.start_span(name=stage) as span:
                        span.set_inputs({"question": "x" * 500}); span.set_outputs({"answer": "y" * 500})
                for step in range(10):
                    log_safely("log_metric", "score", step / 10, step=step)
        log_safely("log_text", "z" * 2000, "answer.txt")
job(-1)
memory, cpu, began, took = rss(), time.process_time(), time.perf_counter(), []
for number in range(jobs):
    start = time.perf_counter(); job(number); took.append(time.perf_counter() - start)
wall = time.perf_counter() - began
if phase != "off":
    if phase == "tracing" and hasattr(mlflow, "flush_trace_async_logging"):
        mlflow.flush_trace_async_logging()
    import liftlock_tracking
    liftlock_tracking.flush(120)
took.sort()
used = (time.process_time() - cpu) / jobs
print(json.dumps({"latency": took[jobs // 2], "cpu": used, "memory": rss(), "grown": rss() - memory}))
"""


def main() -> int:
    """Print the table; the exit status says whether every target is met."""
    version = releases.newest()
    python = releases.environment(version).python
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with releases.serving(version, folder) as url:
            return _measure(python, folder, url, version)


def _measure(python: Path, folder: Path, url: str, version: str) -> int:
    plain, ours = {"MLFLOW_TRACKING_URI": url}, {"MLFLOW_TRACKING_URI": f"liftlock+{url}"}
    lat: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    through: dict[str, list[float]] = {"plain": [], "ours": []}
    for _ in range(ROUNDS):
        lat["plain"].append(_child(python, folder, _LATENCY, ["150"], plain))
        lat["ours"].append(_child(python, folder, _LATENCY, ["1500"], ours))
        through["plain"].append(_child(python, folder, _THROUGHPUT, ["plain"], plain)["per_second"])
        through["ours"].append(_child(python, folder, _THROUGHPUT, ["ours"], ours)["per_second"])
    ours_median = statistics.median(x["median"] for x in lat["ours"])
    plain_median = statistics.median(x["median"] for x in lat["plain"])
    rate, plain_rate = statistics.median(through["ours"]), statistics.median(through["plain"])
    added = statistics.median(_child(python, folder, _PLUGIN_IMPORT, [], {})["seconds"] for _ in range(5))
    print(f"liftlock-tracking with mlflow {version}, medians of {ROUNDS} rounds, side by side with the plain client\n")
    worst, plain_worst = (max(x["max"] for x in lat[who]) for who in ("ours", "plain"))
    ratio = plain_median / ours_median
    good = ours_median <= 100e-6 and ratio >= 20
    rows = [
        ("log_metric, median", _us(ours_median), _us(plain_median), f"1/{ratio:.0f}", good, "<= 1/20 and <= 100 us"),
        ("log_metric, worst", _us(worst), _us(plain_worst), "", worst <= 0.05, "<= 50 ms"),
        (
            "points/s end to end, log_batch",
            f"{rate:.0f}",
            f"{plain_rate:.0f}",
            f"{rate / plain_rate:.2f}",
            rate >= plain_rate,
            ">= plain",
        ),
        ("import time added", f"{added * 1e3:.1f} ms", "", "", added <= 0.02, "<= 20 ms"),
    ]
    _jobs(python, folder, url, rows)
    width = max(len(r[0]) for r in rows)
    print(f"{'':{width}}  {'plugin':>12}  {'plain':>12}  {'ratio':>8}  target")
    for title, left, right, times, met, target in rows:
        print(f"{title:{width}}  {left:>12}  {right:>12}  {times:>8}  {target} {'' if met else '  MISSED'}")
    return 0 if all(r[4] for r in rows) else 1


def _jobs(python: Path, folder: Path, url: str, rows: list[tuple[str, str, str, str, bool, str]]) -> None:
    """The overhead of a whole job: two stages, 20 points, one text file; off, tracking, tracking and tracing."""
    uri = {"MLFLOW_TRACKING_URI": f"liftlock+{url}"}
    phases = {
        "off": {"MLFLOW_ENABLE_TRACKING": "false", **uri},
        "tracking": {"MLFLOW_ENABLE_TRACING": "false", **uri},
        "tracing": uri,
        "plain client": {"MLFLOW_TRACKING_URI": url},
    }
    before = _size(folder)
    found: dict[str, dict[str, float]] = {}
    disk: dict[str, float] = {}
    for phase, env in phases.items():
        found[phase] = _child(python, folder, _JOBS, [phase], env)
        disk[phase] = (_size(folder) - before) / 21
        before = _size(folder)
    print(f"{'per job':22}{'latency':>10}{'CPU':>10}{'memory':>12}{'disk, server side':>20}")
    for phase, got in found.items():
        memory = (got["memory"] - found["off"]["memory"]) / (1 << 20)
        times = f"{got['latency'] * 1e3:>7.1f} ms{got['cpu'] * 1e3:>7.1f} ms"
        print(f"{phase:22}{times}{memory:>+9.1f} MB{disk[phase] / 1024:>17.1f} KB")
    print()
    extra = (found["tracking"]["memory"] - found["off"]["memory"]) / (1 << 20)
    rows.append(("memory added, tracking", f"{extra:.1f} MB", "", "", extra <= 20, "<= 20 MB"))


def _us(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us"


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and "spool" not in p.parts)


def _child(python: Path, folder: Path, code: str, words: list[str], env: dict[str, str]) -> dict[str, float]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LIFTLOCK_", "PYTHON"))}
    more = {
        "PYTHONPATH": f"{_overlay(folder)}{os.pathsep}{PACKAGE / 'src'}",
        "PYTHONWARNINGS": "ignore",
        "LIFTLOCK_TRACKING_SPOOL": str(folder / "spool"),
        "GIT_PYTHON_REFRESH": "quiet",
    }
    words = [str(python), "-c", code, *words]
    variables = {**kept, **more, **env}
    done = subprocess.run(words, check=False, env=variables, cwd=folder, capture_output=True, text=True, timeout=600)
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        raise SystemExit(1)
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def _overlay(folder: Path) -> Path:
    """The plugin's entry points for PYTHONPATH, beside the release's shared environment."""
    info = folder / "overlay" / "liftlock_tracking-0.1.0.dist-info"
    if not info.exists():
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: liftlock-tracking\nVersion: 0.1.0\n")
        lines: list[str] = []
        for group, points in tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]["entry-points"].items():
            lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return info.parent


if __name__ == "__main__":
    sys.exit(main())
