"""Deployments and plans for tests of reports, and what a plan must hold against an upgrade that ran."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from liftlock.app.advisories import advise
from liftlock.app.plan_report import Given
from liftlock.app.upgrade import Summary
from liftlock.knowledge.catalogue import load
from liftlock.model.deployment import Deployment, Role, ServerFacts, StoreFacts, TableFacts
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.plan.planner import plan
from liftlock.plan.situation import Situation
from liftlock.report.plan_content import PlanReport, Room

NOW = datetime(2026, 1, 2, tzinfo=UTC)
# The tests' machine runs other tests at the same time: a step may take so many times what a plan says, and stand still
# for so many seconds while others write. `make bench BENCH=migration` holds the figures themselves.
SLACK = 4.0
STALL = 15.0


def deployment(
    rows: Mapping[str, int], *, auth: bool = False, source: str = "2.9.2", engine: Engine = Engine.SQLITE,
    arguments: tuple[str, ...] = (), environment: Mapping[str, str] | None = None, host: str = "127.0.0.1",
    name: str = "d",
) -> Deployment:  # fmt: skip
    """A deployment as it would be observed, with these rows in its tracking database."""
    known, old = load(), Release.parse(source)
    roles = (Role.TRACKING, Role.AUTH) if auth else (Role.TRACKING,)
    stores = tuple(
        StoreFacts(
            role=role, engine=engine, uri=f"{engine.value}:///{role.value}", engine_version="3", versions={},
            revision=known.head(old, role), version_table="alembic_version", bytes=1000,
            tables=tuple(TableFacts(name=table, rows=count) for table, count in rows.items())
            if role is Role.TRACKING else (),
        )
        for role in roles
    )  # fmt: skip
    server = ServerFacts(
        release=old, python="p", host=host, port=1, workers=None, working_directory="/", arguments=arguments,
        environment=dict(environment or {}), app_name="basic-auth" if auth else None,
    )  # fmt: skip
    return Deployment(name=name, taken_at=NOW, runtime="process", server=server, stores=stores, artifacts=())


def given(found: Deployment, target: str = "3.17.2") -> Given:
    """A plan for it, and all that a report needs beside the plan, with nothing looked at."""
    known = load()
    jump = known.jump(found.server.release, Release.parse(target))
    if found.store(Role.AUTH) is None:
        jump = type(jump)(source=jump.source, target=jump.target, tracking=jump.tracking)
    return Given(
        plan=plan(Situation(now=NOW, deployment=found, jump=jump)), deployment=found, now=NOW, python="3.11.7",
        advisories=advise(None, target, said={}, deployment=found),
        room=(Room(path="/srv", needed=2000, free=10**9),),
    )  # fmt: skip


def agrees(report: PlanReport, done: Summary) -> None:
    """What happened is what the plan said: migrations and their time, tables they change, the window, every step."""
    for role in Role:
        said = [each.revision for each in report.migrations if each.role is role]
        result = done.results.get(f"migrate-{role.value}")
        ran = [name for name, _ in result["revisions"]] if result is not None else []
        assert ran == said, f"{role} migrations"
        if result is not None:
            ranges = [each.seconds for each in report.migrations if each.role is role]
            took = sum(seconds for _, seconds in result["revisions"])
            low, high = sum(each.low or 0 for each in ranges), sum(each.high or 0 for each in ranges)
            assert low / SLACK <= took <= high * SLACK + STALL, (
                f"{role} migrations took {took} s, said were {low} to {high}"
            )
    named = {table for each in report.migrations for table in (*each.rewrites, *each.drops)}
    changed = {
        finding["title"].rpartition(" ")[2]
        for finding in done.results.get("verify-data", {}).get("findings", ())
        if "as expected" in finding["message"]
    }
    assert changed <= named, "a table changed that the plan does not name"
    window = report.plan.window
    assert done.write_hold_seconds is not None
    assert window.low is not None
    assert window.high is not None
    assert window.low / SLACK <= done.write_hold_seconds <= window.high * SLACK + STALL
    assert [step.name for step in report.plan.steps] == list(done.results)
