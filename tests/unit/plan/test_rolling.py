"""When `rolling` is offered, and when it is chosen by itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from liftlock.errors import UsageError
from liftlock.model.deployment import Deployment, Role, ServerFacts, StoreFacts, TableFacts
from liftlock.model.plan import Strategy
from liftlock.model.release import Jump, Release
from liftlock.model.uri import Engine
from liftlock.plan.planner import plan
from liftlock.plan.situation import Rehearsed, Situation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
JUMP = Jump(source=Release(version="3.13.0"), target=Release(version="3.14.0"), tracking=("89d3d66ed43f",))


def situation(
    *, engine: Engine = Engine.POSTGRESQL, rows: int = 200_000, seconds: float = 0.4, **changes: Any
) -> Situation:
    store = StoreFacts(
        role=Role.TRACKING, engine=engine, uri="u", engine_version="1", revision="da6fb0208061",
        version_table="alembic_version", versions={}, tables=(TableFacts(name="runs", rows=rows),), bytes=1,
    )  # fmt: skip
    server = ServerFacts(
        release=JUMP.source, python="p", host="h", port=1, workers=None, working_directory="/", arguments=(),
        environment={},
    )  # fmt: skip
    deployment = Deployment(name="d", taken_at=NOW, runtime="process", server=server, stores=(store,), artifacts=())
    rehearsed = Rehearsed(
        at=NOW, deployment_digest="x", jump=JUMP, strategy=Strategy.STANDARD, seconds={"migrate-tracking": seconds},
        rows=200_000, bytes=1, beside="",
    )  # fmt: skip
    made = Situation(now=NOW, deployment=deployment, jump=JUMP, gate=True, rehearsed=rehearsed)
    return msgspec.structs.replace(made, **changes)


def beside(reason: str | None) -> Rehearsed:
    found = situation().rehearsed
    assert found is not None
    return msgspec.structs.replace(found, beside=reason)


def test_a_short_stall_makes_it_the_choice() -> None:
    made = plan(situation())
    assert made.strategy is Strategy.ROLLING
    assert any("0.4 s (rehearsed)" in reason for reason in made.reasons)
    names = [step.name for step in made.steps]
    order = [
        "back-up",
        "share-schema",
        "move-old",
        "stop-old",
        "migrate-tracking",
        "verify-live",
        "shift-reads",
        "cut-over",
    ]
    assert sorted(order, key=names.index) == order
    assert [step.name for step in made.steps if step.holds_writes] == ["move-old", "migrate-tracking", "cut-over"]


@pytest.mark.parametrize(("seconds", "rows"), [(1.5, 50), (1.5, 200_000), (0.5, 600_000)])
def test_a_longer_one_leaves_it_possible_and_says_so(seconds: float, rows: int) -> None:
    given = situation(seconds=seconds, rows=rows)
    made = plan(given)
    assert made.strategy is Strategy.ONLINE
    assert any("rolling is possible" in reason and "1.5 s (rehearsed)" in reason for reason in made.reasons)
    assert plan(msgspec.structs.replace(given, wanted=Strategy.ROLLING)).strategy is Strategy.ROLLING
    blocked = msgspec.structs.replace(given, online_obstacles=("something",))
    assert plan(blocked).strategy is Strategy.ROLLING, "better than a stop"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (situation(engine=Engine.SQLITE), "only PostgreSQL"),
        (situation(gate=False), "no gate"),
        (situation(jump=msgspec.structs.replace(JUMP, auth=("u2",))), "the auth database changes too"),
        (situation(rolling_obstacles=("two releases share the database already",)), "share the database already"),
        (situation(jump=msgspec.structs.replace(JUMP, tracking=("unknown",))), "never recorded"),
        (situation(rehearsed=None), "not rehearsed with the old release"),
        (situation(rehearsed=beside(None)), "not rehearsed with the old release"),
        (situation(rehearsed=beside("create run: 500")), "did not work on the migrated database: create run: 500"),
        (situation(seconds=4.5), "stall everybody for 4.5 s"),
    ],
)
def test_where_it_is_not_offered_the_reason_is_said(given: Situation, why: str) -> None:
    made = plan(given)
    assert made.strategy is not Strategy.ROLLING
    assert why in made.not_offered["rolling"]
    with pytest.raises(UsageError, match="rolling is not possible here"):
        plan(msgspec.structs.replace(given, wanted=Strategy.ROLLING))
