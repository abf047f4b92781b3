"""The write hold of the online upgrade, again and again under load, against stop + `mlflow db upgrade` + start.

Each case is a database of one size behind a gate, on both engines, with real clients of its release that write all the
time, and one that reads. First the upgrade by hand on the same data (the time nobody can write), then the online
upgrade, then cut-overs there and back between the two running sides. Every acknowledged write is looked for in the end.
ONLINE_CASES names cases, ONLINE_ENGINES engines, ONLINE_CLIENTS and ONLINE_CUTS say how many.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from bench.many_traces import fill_traces
from bench.standard import Bench, fill
from liftlock.app import gate as gates
from liftlock.app import upgrade
from liftlock.app.lives import Run
from liftlock.app.lives.online import sides
from liftlock.app.planning import make_plan
from liftlock.demo.load import Load, judge, writing
from liftlock.demo.postgres import PostgresServer
from liftlock.engine.interface import Context
from liftlock.gate.model import Address
from liftlock.model.deployment import Role
from liftlock.model.plan import Strategy
from liftlock.model.progress import Progress
from liftlock.online.converge import converge
from liftlock.online.cutover import CutOver, Held
from liftlock.steps.sides import Sides
from liftlock.verify.http import Client
from tests.support import releases, upgrades
from tests.support.upgrades import stop


@dataclass(frozen=True)
class Case:
    """A release, what its database is filled with, and the goals (s) for the median and the longest hold."""

    release: str
    metrics: int = 0
    traces: int = 0
    median: float = 0.4
    longest: float = 1.0


CASES = {
    "metrics-100k": Case("2.9.2", metrics=100_000),
    "metrics-1m": Case("2.9.2", metrics=1_000_000),
    "metrics-10m": Case("2.9.2", metrics=10_000_000),
    # Traces written meanwhile go through the migrations in a scratch database, within the hold.
    "traces-10k": Case("3.16.1", traces=10_000, median=0.8, longest=2.0),
    "traces-100k": Case("3.16.1", traces=100_000, median=0.8, longest=2.0),
}
ENGINES = os.environ.get("ONLINE_ENGINES", "sqlite,postgresql").split(",")
WANTED = os.environ.get("ONLINE_CASES", ",".join(CASES)).split(",")
CLIENTS = int(os.environ.get("ONLINE_CLIENTS", "16"))
CUTS = int(os.environ.get("ONLINE_CUTS", "20"))
SIZE_GOAL = 1.3
READS_GOAL = 0.1
"""Seconds that a cut-over may add to the 99th percentile of reads: those in one and within AROUND seconds after it,
against those between cut-overs, from the same two servers."""
AROUND = 0.5


def main() -> int:
    """1 where a goal was missed."""
    well = True
    for engine in ENGINES:
        medians = {}
        for name in WANTED:
            medians[name], good = _case(engine, name, CASES[name])
            well = well and good
        for kind in ("metrics", "traces"):
            sizes = [median for name, median in medians.items() if name.startswith(kind)]
            if len(sizes) > 1:
                ratio = max(sizes) / min(sizes)
                print(f"{engine}, {kind}: largest hold by size / smallest {ratio:.2f} (goal {SIZE_GOAL})", flush=True)
                well = well and ratio <= SIZE_GOAL
    return 0 if well else 1


def _case(engine: str, name: str, case: Case) -> tuple[float, bool]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liftlock-bench-")))
        server = stack.enter_context(PostgresServer(place / "pg")) if engine == "postgresql" else None
        (place / "made").mkdir()
        made = stack.enter_context(upgrades.deployment(case.release, place / "made", server=server, auth=False))
        if case.metrics:
            fill(made, server, case.metrics)
        traces = fill_traces(made, server, case.traces) if case.traces else 0
        by_hand = Bench(made, server, place / "by-hand").by_hand()
        reply = gates.install(made.workspace)
        stack.callback(os.kill, reply.pid, 15)
        stack.callback(stop, made)
        load = stack.enter_context(
            writing(
                releases.environment(case.release), made.url, place / "load", clients=CLIENTS, pause=0.05,
                traces=case.traces > 0,
            )
        )  # fmt: skip
        load.await_writes(CLIENTS * 4)
        reads = stack.enter_context(reading(made.url))
        time.sleep(15)
        before = percentile(reads.since(0))
        plan = make_plan(made.workspace, releases.newest(), Strategy.ONLINE)
        phases = Phases()
        done = upgrade.upgrade(made.workspace, plan, observer=phases)
        phases.enter("between cut-overs")
        first = done.write_hold_seconds or 0.0
        begun = time.perf_counter()
        held, cuts = _again(made, load, phases)
        between, during = (percentile(each) for each in reads.parted(begun, cuts))
        load.stop()
        slowest = phases.slowest(load)
        seen = judge(load, made.workspace.stores[Role.TRACKING], Client(made.url))
    holds = [first, *(each.hold for each in held)]
    median, longest = statistics.median(holds), max(holds)
    print(f"{engine}, {name}: MLflow {case.release}, {case.metrics} metric rows, {traces} traces, "
          f"{CLIENTS} real clients, {len(holds)} cut-overs")  # fmt: skip
    print(f"  nobody can write: by hand {by_hand:.2f} s; online median {median:.3f} s ({by_hand / median:.0f}x less), "
          f"longest {longest:.3f} s (goals {case.median:g} and {case.longest:g})")  # fmt: skip
    for part in ("drained", "fenced", "applied"):
        print(f"    {part:8} median {statistics.median(getattr(each, part) for each in held):.3f} s")
    print(f"    log entries in the hold: median {statistics.median(each.keys for each in held):.0f}; "
          f"tries {statistics.mean(each.attempts for each in held):.1f}")  # fmt: skip
    print(f"  {seen.acknowledged} writes acknowledged, {len(seen.lost)} lost, {len(seen.doubled)} doubled, "
          f"{len(seen.failed)} failed; the longest took {seen.longest:.2f} s", flush=True)  # fmt: skip
    print(f"  reads, 99th percentile: {before * 1000:.0f} ms before the upgrade; afterwards {between * 1000:.0f} ms "
          f"between cut-overs, {during * 1000:.0f} ms in them (goal {READS_GOAL * 1000:.0f} ms more); "
          f"{reads.failed} failed")  # fmt: skip
    print("  the longest writes: " + "; ".join(slowest))
    steps = {step: float(result.get("seconds", 0)) for step, result in done.results.items()}
    print("  steps: " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items()), flush=True)
    lossless = not (seen.lost or seen.doubled or seen.failed or reads.failed)
    return median, lossless and median <= case.median and longest <= case.longest and during - between <= READS_GOAL


@dataclass
class Phases:
    """What went on at which time: an observer of an upgrade, told of the rest by hand."""

    begun: list[tuple[float, str]] = field(default_factory=lambda: [(time.time(), "before the upgrade")])

    def __call__(self, progress: Progress) -> None:
        self.enter(progress.work)

    def enter(self, work: str) -> None:
        if work != self.begun[-1][1]:
            self.begun.append((time.time(), work))

    def slowest(self, load: Load, number: int = 6) -> list[str]:
        """The writes that took longest: seconds, kind, and what went on when they began and ended."""
        found = []
        for name in load.names:
            lines = [json.loads(line) for line in (load.directory / f"{name}.jsonl").read_text("utf-8").splitlines()]
            begun = {line["n"]: line for line in lines if "kind" in line}
            found += [
                (line["seconds"], begun[line["n"]]["kind"], begun[line["n"]]["at"]) for line in lines if "ok" in line
            ]
        return [
            f"{seconds:.2f} s {kind} ({self._at(at)} .. {self._at(at + seconds)})"
            for seconds, kind, at in sorted(found, reverse=True)[:number]
        ]

    def _at(self, when: float) -> str:
        began, work = max(each for each in self.begun if each[0] <= when or each == self.begun[0])
        return f"{when - began:+.1f} s {work}"


@dataclass
class Reads:
    """When reads began and how long they took, in seconds, and how many failed."""

    took: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0
    ended: threading.Event = field(default_factory=threading.Event)

    def since(self, begun: float) -> list[float]:
        return [seconds for at, seconds in self.took if at >= begun]

    def parted(self, begun: float, cuts: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        """Those between cut-overs (from, to), and those that any of it fell into one or shortly after."""
        parts: tuple[list[float], list[float]] = ([], [])
        for at, seconds in self.took:
            if at >= begun:
                inside = any(at < end + AROUND and at + seconds > start for start, end in cuts)
                parts[inside].append(seconds)
        return parts

    def read(self, url: str) -> None:
        pool = urllib3.PoolManager(retries=False)
        while not self.ended.is_set():
            began = time.perf_counter()
            try:
                answer = pool.request(
                    "POST", f"{url}/api/2.0/mlflow/experiments/search", json={"max_results": 5}, timeout=30
                )
                self.failed += answer.status != 200
            except urllib3.exceptions.HTTPError:
                self.failed += 1
            self.took.append((began, time.perf_counter() - began))
            time.sleep(0.02)


def percentile(seconds: list[float]) -> float:
    """The 99th."""
    return sorted(seconds)[int(len(seconds) * 0.99)]


@contextmanager
def reading(url: str) -> Iterator[Reads]:
    """Somebody who looks at the list of experiments all the time."""
    reads = Reads()
    thread = threading.Thread(target=reads.read, args=(url,))
    thread.start()
    try:
        yield reads
    finally:
        reads.ended.set()
        thread.join()


def _again(made: upgrades.Deployment, load: Load, phases: Phases) -> tuple[list[Held], list[tuple[float, float]]]:
    """Back and forth between two running sides, ending on the new one; when each cut-over began and ended."""
    workspace = made.workspace
    state = upgrade.last_upgrade(workspace)
    assert state is not None
    both: Sides = sides(Run(workspace, state))
    context = Context(state.id, {step.name: step.outcome for step in state.steps})
    old = both.old.runtime.start(both.old.spec(both.old.old_python, both.source))
    python = Path(str(context.outcome("build-environments")["new_python"]))
    addresses = {
        True: both.address(both.old, both.old.old_python, both.source),
        False: both.address(both.new, python, both.target),
    }
    held, cuts = [], []
    try:
        for number in range(CUTS):
            back = number % 2 == 0
            flows = both.back(context) if back else both.flows(context)
            converge(flows, both.pace(), both.control)
            target: Address = addresses[back]
            cut = CutOver(flows, both.gate, target, f"bench:{number}", "liftlock bench")
            phases.enter("cut over")
            begun = time.perf_counter()
            held.append(cut.run(both.pace(), both.control))
            cuts.append((begun, time.perf_counter()))
            phases.enter("between cut-overs")
            load.await_writes(CLIENTS)
    finally:
        both.rules.close()
        both.warmth.close()
        both.old.runtime.stop(old)
    return held, cuts


if __name__ == "__main__":
    sys.exit(main())
