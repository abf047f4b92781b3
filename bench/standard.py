"""A whole standard upgrade against the same by hand: stop, copy or dump, `mlflow db upgrade`, start.

MLflow 2.9.2 with some of everything and 300,000 metric rows goes to the newest installable release. Both ways use the
same environments (built before), the same stop and the same start-until-healthy. By hand proves nothing; liftlock
makes and restores a backup, compares every row, and runs real clients of both releases against the result. The write
hold is from the first signal to the old server until the new one answers. Nobody writes between backup and stop, so
one backup serves; where somebody does, a second one is made in the hold. A careful person also tries the new server
with one client; that is shown apart, the goal is without.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg

from liftlock.app import upgrade
from liftlock.app.planning import build_target, choose_target, find_jump, make_plan
from liftlock.app.sites import live_site
from liftlock.demo.postgres import PostgresServer
from liftlock.files import sync_file
from liftlock.model.deployment import Role
from liftlock.proc import run
from liftlock.releases.children import clean_environment
from liftlock.releases.tools import ReleaseTools
from liftlock.stores import postgresql_tools
from liftlock.stores.postgresql_connect import parameters
from tests.support import releases, upgrades

SOURCE = "2.9.2"
ROWS = 300_000
ROUNDS = 3
GOAL = 1.3
_CHECK = """
import mlflow
with mlflow.start_run() as run:
    mlflow.log_metric("m", 1.0)
assert mlflow.get_run(run.info.run_id).data.metrics == {"m": 1.0}
"""


class Bench:
    """One deployment that goes up and comes back, over and over."""

    def __init__(self, made: upgrades.Deployment, server: PostgresServer | None, place: Path) -> None:
        self.made = made
        self.server = server
        self.place = place
        self.tried: list[float] = []
        self.uri = made.uris[Role.TRACKING]
        workspace = made.workspace
        self.target = choose_target(workspace, releases.newest())
        self.environment = build_target(workspace, self.target)
        heads = ReleaseTools(self.environment).heads()
        self.jump, _ = find_jump(workspace.deployment(), self.target, heads)

    def by_hand(self) -> float:
        """Up as a person would do it: seconds from the stop to an answer. The way back is not timed.

        Seconds of one client's try after it are added to `tried`.
        """
        workspace = self.made.workspace
        site = live_site(workspace, self.jump, None)
        handle = workspace.server()
        assert handle is not None
        shutil.rmtree(self.place, ignore_errors=True)
        started = time.perf_counter()
        workspace.runtime.stop(handle)
        self._save()
        run(
            [self.environment.python, "-m", "mlflow", "db", "upgrade", self.uri.reveal()],
            timeout=600, env=clean_environment(), what="mlflow db upgrade",
        )  # fmt: skip
        new = workspace.runtime.start(site.spec(self.environment.python, self.target))
        seconds = time.perf_counter() - started
        env = clean_environment({"MLFLOW_TRACKING_URI": self.made.url})
        run([self.environment.python, "-c", _CHECK], timeout=120, env=env, what="one client")
        self.tried.append(time.perf_counter() - started - seconds)
        workspace.runtime.stop(new)
        self._put_back()
        workspace.runtime.start(site.spec(workspace.config.python, workspace.config.release))
        return seconds

    def by_liftlock(self) -> tuple[float, float, dict[str, float]]:
        """Up with liftlock: the whole command, its write hold, seconds by step. The way back is not timed."""
        workspace = self.made.workspace
        plan = make_plan(workspace, str(self.target))
        started = time.perf_counter()
        done = upgrade.upgrade(workspace, plan)
        seconds = time.perf_counter() - started
        assert done.write_hold_seconds is not None
        steps = {name: float(result.get("seconds", 0)) for name, result in done.results.items()}
        upgrade.rollback(self.made.workspace)
        return seconds, done.write_hold_seconds, steps

    def _save(self) -> None:
        if self.server is None:
            self.place.mkdir()
            shutil.copy(self.uri.path, self.place / "mlflow.db")
            sync_file(self.place / "mlflow.db")
            return
        given = parameters(self.uri)
        words: list[str | Path] = [self._tool("pg_dump"), "-Fd", "-j2", "-Z1", "-f", self.place]
        words.append(f"--dbname={postgresql_tools.target(given)}")
        subprocess.run(words, env=postgresql_tools.environment(given), check=True)

    def _put_back(self) -> None:
        if self.server is None:
            shutil.copy(self.place / "mlflow.db", self.uri.path)
            return
        self.server.execute(f'DROP DATABASE "{self.uri.database}"')
        self.server.create_database(self.uri.database)
        given = parameters(self.uri)
        words: list[str | Path] = [self._tool("pg_restore"), "-j2", f"--dbname={postgresql_tools.target(given)}"]
        subprocess.run([*words, self.place], env=postgresql_tools.environment(given), check=True)

    def _tool(self, name: str) -> Path:
        with psycopg.connect(self.uri.reveal()) as connection:
            programs = postgresql_tools.find_tools(connection.info.server_version // 10000)
        assert programs is not None
        return programs.path(name)


def fill(made: upgrades.Deployment, server: PostgresServer | None, rows: int = ROWS) -> None:
    """More metric rows of one run, by SQL."""
    columns = "INSERT INTO metrics (key, value, timestamp, run_uuid, step, is_nan) "
    run_of = "(SELECT run_uuid FROM runs LIMIT 1)"
    uri = made.uris[Role.TRACKING]
    if server is not None:
        select = f"SELECT 'm' || i % 20, i * 0.5, 1700000000000 + i, {run_of}, i, false "
        server.execute(f"{columns}{select} FROM generate_series(1, {rows}) i", uri.database)
        return
    with closing(sqlite3.connect(uri.path)) as connection, connection:
        connection.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) {columns}"
            f"SELECT 'm' || i % 20, i * 0.5, 1700000000000 + i, {run_of}, i, 0 FROM n"
        )


def shown(values: list[float], unit: str = "s") -> str:
    return f"{statistics.median(values):6.2f} {unit}  ({min(values):.2f}-{max(values):.2f})"


def measure(engine: str, say: Callable[[str], None]) -> float:
    """Alternate both ways; the median ratio of the whole command."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liftlock-bench-")))
        server = stack.enter_context(PostgresServer(place / "postgres")) if engine == "postgresql" else None
        made = stack.enter_context(upgrades.deployment(SOURCE, place, server=server, auth=False))
        fill(made, server)
        bench = Bench(made, server, place / "by-hand")
        hand, whole, hold, steps = [], [], [], []
        for _ in range(ROUNDS):
            hand.append(bench.by_hand())
            seconds, held, by_step = bench.by_liftlock()
            whole.append(seconds)
            hold.append(held)
            steps.append(by_step)
        say(f"{engine}: {SOURCE} to {bench.target}, {ROWS:,} metric rows, {ROUNDS} alternated rounds")
    say(f"  stop, copy, mlflow db upgrade, start   {shown(hand)}")
    say(f"  and one client that tries it           {shown(bench.tried)}")
    say(f"  liftlock upgrade, writes held          {shown(hold)}")
    say(f"  liftlock upgrade, whole                {shown(whole)}")
    ratios = [ours / theirs for ours, theirs in zip(whole, hand, strict=True)]
    say(f"  held / by hand                         {shown([a / b for a, b in zip(hold, hand, strict=True)], 'x')}")
    say(f"  whole / by hand (goal {GOAL})              {shown(ratios, 'x')}")
    careful = [a / (b + c) for a, b, c in zip(whole, hand, bench.tried, strict=True)]
    say(f"  whole / by hand with one client        {shown(careful, 'x')}")
    for name in steps[0]:
        say(f"    {name:<28} {shown([each[name] for each in steps])}")
    return statistics.median(ratios)


def main() -> int:
    os.environ.setdefault("LIFTLOCK_CACHE", str(releases.cache_root()))
    ratios = [measure(engine, lambda line: print(line, flush=True)) for engine in ("sqlite", "postgresql")]
    return int(max(ratios) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
