"""The demo's main story: people write all the time while MLflow is upgraded and brought back, and nothing is lost."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

from liftlock.app import backup, upgrade
from liftlock.app import gate as gates
from liftlock.app.check import check, check_after
from liftlock.app.demo_stages import Stages
from liftlock.app.planning import make_plan
from liftlock.app.workspace import Workspace
from liftlock.demo.load import Load, judge, writing
from liftlock.demo.server import ADMIN, OldServer
from liftlock.model.deployment import Role
from liftlock.model.finding import Outcome
from liftlock.model.plan import Strategy
from liftlock.model.progress import Observer
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.releases.environment import Environment
from liftlock.verify.http import Client

_CLIENTS = 3
_WRITES = 40


def upgrade_under_load(
    workspace: Workspace, old: Environment, server: OldServer, goal: Release, stages: Stages, observer: Observer
) -> None:
    """Gate, load, online upgrade, more writes, rollback, more writes; then every acknowledged write is looked for."""
    stages.findings("check", lambda: check(workspace, before=goal.version, observer=observer))
    login = (ADMIN, server.password)
    with ExitStack() as stack:
        stages.run(
            "put a gate in front, one restart",
            lambda: _gate(workspace, stack),
            lambda address: f"clients stay on {address}",
        )
        path = workspace.config.path
        load = stages.run(
            f"{_CLIENTS} real clients of {old.release} begin to write",
            lambda: _begin(stack, old, server.url, path.parent, login),
            lambda begun: f"{begun.written()} writes so far",
        )
        here = Workspace.open(path)
        plan = make_plan(here, goal.version, Strategy.ONLINE, observer=observer)
        done = stages.run(
            f"upgrade to MLflow {goal}, {plan.strategy.value}",
            lambda: upgrade.upgrade(here, plan, observer=observer),
            lambda done: (
                f"{len(plan.jump.tracking) + len(plan.jump.auth)} migrations, "
                f"writes held for {done.write_hold_seconds:.2f} s"
            ),
        )
        for finding in done.results["verify-aligned"]["findings"]:
            stages.note(
                "compared while people wrote",
                f"{finding['title']}: {finding['message']}",
                ok=finding["outcome"] == Outcome.PASS,
            )
        before = load.written()
        stages.run("people go on writing, on the new release", lambda: load.await_writes(_WRITES))
        upgraded = Workspace.open(path)
        stages.findings("verify after the upgrade", lambda: check_after(upgraded))
        after = load.written() - before
        stages.run(
            "roll back, keeping what was written since",
            lambda: upgrade.rollback(upgraded, observer=observer),
            lambda back: f"writes held for {back.write_hold_seconds:.2f} s",
        )
        stages.run("people go on writing, on the old release", lambda: load.await_writes(_WRITES))
        load.stop()
        back = Workspace.open(path)
        _judge(stages, load, back, Client(server.url, login=login), after)
        stages.findings("verify after the rollback", lambda: check(back))
        last = backup.listing(back).sets
        stages.note(
            "backups kept", f"{sum(1 for one in last if one.verified_at)} of {len(last)} verified", ok=bool(last)
        )


def _gate(workspace: Workspace, stack: ExitStack) -> str:
    reply = gates.install(workspace)
    stack.callback(_end, reply.pid)
    record = gates.installed(workspace)
    assert record is not None, "it was just installed"
    return str(record.public)


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _begin(stack: ExitStack, old: Environment, url: str, directory: Path, login: tuple[str, Secret]) -> Load:
    load = stack.enter_context(writing(old, url, directory / "load", clients=_CLIENTS, login=login))
    load.await_writes(_WRITES)
    return load


def _judge(stages: Stages, load: Load, workspace: Workspace, client: Client, after: int) -> None:
    """The clients' own ledger against the database and the server, after everything."""
    seen = judge(load, workspace.stores[Role.TRACKING], client)
    for what, found in (("requests failed", seen.failed), ("writes lost", seen.lost), ("writes doubled", seen.doubled)):
        text = found[0] if found else f"none of {seen.acknowledged}"
        stages.note(what, text, ok=not found)
    stages.note(
        "written on the new release, there on the old one", f"{after} writes and more", ok=after > 0 and not seen.lost
    )
    stages.note("longest a client waited for a write", f"{seen.longest:.2f} s", ok=True)
