"""The write hold of the online upgrade, again and again under load, against stop + `mlflow db upgrade` + start.

MLflow 2.9.2 with 1 million metric rows (ONLINE_ROWS) behind a gate, real 2.9.2 clients that write all the time. First
the upgrade by hand on the same data (the time nobody can write), then the online upgrade, then cut-overs there and back
between the two running sides. Every acknowledged write is looked for in the end.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from bench.standard import SOURCE, Bench, fill
from liftlock.app import gate as gates
from liftlock.app import upgrade
from liftlock.app.planning import make_plan
from liftlock.demo.load import Load, judge, writing
from liftlock.demo.postgres import PostgresServer
from liftlock.engine.interface import Context
from liftlock.gate.model import Address
from liftlock.model.deployment import Role
from liftlock.model.plan import Strategy
from liftlock.online.converge import converge
from liftlock.online.cutover import CutOver, Held
from liftlock.steps.sides import Sides
from liftlock.verify.http import Client
from tests.support import releases, upgrades
from tests.support.upgrades import stop

ROWS = int(os.environ.get("ONLINE_ROWS", "1000000"))
CLIENTS = int(os.environ.get("ONLINE_CLIENTS", "8"))
CUTS = int(os.environ.get("ONLINE_CUTS", "20"))
GOAL_MEDIAN, GOAL_LONGEST = 0.4, 1.0


def main() -> int:
    """Both engines; 1 where a goal was missed."""
    missed = [name for name in ("sqlite", "postgresql") if not _engine(name)]
    return 1 if missed else 0


def _engine(name: str) -> bool:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="liftlock-bench-")))
        server = stack.enter_context(PostgresServer(place / "pg")) if name == "postgresql" else None
        (place / "made").mkdir()
        made = stack.enter_context(upgrades.deployment(SOURCE, place / "made", server=server, auth=False))
        fill(made, server, ROWS)
        by_hand = Bench(made, server, place / "by-hand").by_hand()
        reply = gates.install(made.workspace)
        stack.callback(os.kill, reply.pid, 15)
        stack.callback(stop, made)
        load = stack.enter_context(
            writing(releases.environment(SOURCE), made.url, place / "load", clients=CLIENTS, pause=0.05)
        )
        load.await_writes(CLIENTS * 4)
        plan = make_plan(made.workspace, releases.newest(), Strategy.ONLINE)
        done = upgrade.upgrade(made.workspace, plan)
        first = done.write_hold_seconds or 0.0
        held = _again(made, load)
        load.stop()
        seen = judge(load, made.workspace.stores[Role.TRACKING], Client(made.url))
    holds = [first, *(each.hold for each in held)]
    median, longest = statistics.median(holds), max(holds)
    print(f"{name}, {ROWS} metric rows, {CLIENTS} real clients, {len(holds)} cut-overs")
    print(f"  nobody can write: by hand {by_hand:.2f} s; online median {median:.3f} s ({by_hand / median:.0f}x less), "
          f"longest {longest:.3f} s")  # fmt: skip
    for part in ("drained", "fenced", "applied"):
        print(f"    {part:8} median {statistics.median(getattr(each, part) for each in held):.3f} s")
    print(f"    log entries in the hold: median {statistics.median(each.keys for each in held):.0f}; "
          f"tries {statistics.mean(each.attempts for each in held):.1f}")  # fmt: skip
    print(f"  {seen.acknowledged} writes acknowledged, {len(seen.lost)} lost, {len(seen.doubled)} doubled, "
          f"{len(seen.failed)} failed; the longest took {seen.longest:.2f} s", flush=True)  # fmt: skip
    steps = {step: float(result.get("seconds", 0)) for step, result in done.results.items()}
    print("  steps: " + ", ".join(f"{step} {seconds:.1f}" for step, seconds in steps.items()), flush=True)
    return median <= GOAL_MEDIAN and longest <= GOAL_LONGEST and not (seen.lost or seen.doubled or seen.failed)


def _again(made: upgrades.Deployment, load: Load) -> list[Held]:
    """Back and forth between two running sides; ends on the new one."""
    workspace = made.workspace
    state = upgrade.last_upgrade(workspace)
    assert state is not None
    both: Sides = upgrade.sides_of(workspace, state)
    context = Context(state.id, {step.name: step.outcome for step in state.steps})
    old = both.old.runtime.start(both.old.spec(both.old.old_python, both.source))
    python = Path(str(context.outcome("build-environments")["new_python"]))
    addresses = {
        True: both.address(both.old, both.old.old_python, both.source),
        False: both.address(both.new, python, both.target),
    }
    held = []
    try:
        for number in range(CUTS):
            back = number % 2 == 0
            flows = both.back(context) if back else both.flows(context)
            converge(flows, both.pace(), both.control)
            target: Address = addresses[back]
            cut = CutOver(flows, both.gate, target, f"bench:{number}", "liftlock bench")
            held.append(cut.run(both.pace(), both.control))
            load.await_writes(CLIENTS)
    finally:
        both.rules.close()
        both.warmth.close()
        both.old.runtime.stop(old)
    return held


if __name__ == "__main__":
    sys.exit(main())
