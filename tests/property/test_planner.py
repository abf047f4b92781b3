"""Planning is a pure function: never an illegal path, the same plan for the same input, no number without origin."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftlock.errors import Refused, UsageError
from liftlock.model.codec import from_json, to_json
from liftlock.model.deployment import Deployment, Role, ServerFacts, StoreFacts, TableFacts
from liftlock.model.plan import Estimate, Origin, Plan, Reversibility, Strategy
from liftlock.model.release import Jump, Release
from liftlock.model.uri import Engine
from liftlock.plan.estimates import total
from liftlock.plan.planner import identity, plan
from liftlock.plan.situation import Rehearsed, Situation

NOW = datetime(2026, 1, 2, tzinfo=UTC)
numbers = st.integers(0, 4)
releases = st.builds(lambda a, b, c: Release(version=f"{a}.{b}.{c}"), st.integers(1, 3), numbers, numbers)
revisions = st.lists(
    st.sampled_from(["a5b4c3d2e1f0", "75868b020152", "f5a4f2784254", "x1", "x2"]), unique=True, max_size=4
)


@st.composite
def stores(draw: st.DrawFn) -> tuple[StoreFacts, ...]:
    roles = draw(st.sampled_from([(Role.TRACKING,), (Role.TRACKING, Role.AUTH), (Role.TRACKING, Role.REGISTRY)]))
    engine = draw(st.sampled_from([Engine.SQLITE, Engine.POSTGRESQL]))
    return tuple(
        StoreFacts(
            role=role,
            engine=engine,
            uri=f"{engine.value}:///{role.value}",
            engine_version="1",
            revision="r",
            version_table="alembic_version",
            versions={},
            tables=(TableFacts(name="metrics", rows=draw(st.integers(0, 10**8))), TableFacts(name="runs", rows=3)),
            bytes=draw(st.integers(0, 10**12)),
        )
        for role in roles
    )


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    found = draw(stores())
    source = draw(releases)
    deployment = Deployment(
        name="d",
        taken_at=NOW,
        runtime="process",
        server=ServerFacts(
            release=source,
            python="p",
            host="h",
            port=1,
            workers=None,
            working_directory="/",
            arguments=(),
            environment={},
        ),
        stores=found,
        artifacts=(),
    )
    has_auth = any(store.role is Role.AUTH for store in found)
    jump = Jump(
        source=source,
        target=draw(releases),
        tracking=tuple(draw(revisions)),
        auth=tuple(draw(revisions)) if has_auth else (),
    )
    rehearsed = None
    if draw(st.booleans()):
        names = draw(
            st.lists(st.sampled_from(["snapshot", "migrate-tracking", "start-new", "verify-data"]), unique=True)
        )
        rehearsed = Rehearsed(
            at=NOW,
            deployment_digest="x",
            jump=jump if draw(st.booleans()) else msgspec.structs.replace(jump, tracking=("other",)),
            strategy=Strategy.STANDARD,
            seconds={name: draw(st.floats(0, 1000)) for name in names},
            rows=draw(st.integers(0, 10**8)),
            bytes=1,
            beside=draw(st.sampled_from([None, "", "it failed"])),
        )
    return Situation(
        now=NOW,
        deployment=deployment,
        jump=jump,
        wanted=draw(st.none() | st.sampled_from(list(Strategy))),
        foreign_revision=draw(st.none() | st.just("zzz")),
        rehearsed=rehearsed,
        artifact_bytes=draw(st.integers(0, 10**12)),
        target_cached=draw(st.booleans()),
        new_starts_in=draw(st.none() | st.floats(0.1, 100)),
        gate=draw(st.booleans()),
        online_obstacles=draw(st.sampled_from([(), ("cannot be followed",)])),
    )


@settings(max_examples=300, deadline=None)
@given(situations())
def test_never_an_illegal_path(situation: Situation) -> None:
    jump = situation.jump
    illegal = jump.target <= jump.source or situation.foreign_revision is not None
    changes = bool(jump.tracking or jump.auth)
    side_by_side = (Strategy.ONLINE, Strategy.ROLLING)
    impossible = (situation.wanted in side_by_side and not (situation.gate and changes)) or (
        situation.wanted is Strategy.IN_PLACE and changes
    )
    if illegal:
        with pytest.raises(Refused):
            plan(situation)
        return
    if impossible:
        with pytest.raises(UsageError):
            plan(situation)
        return
    try:
        made = plan(situation)
    except UsageError:
        assert situation.wanted in side_by_side, "the others are possible or not by what lies between the releases"
        return
    names = [step.name for step in made.steps]
    assert len(names) == len(set(names))
    # Schema changes are never left to a start of the new server, and never made without a proven snapshot.
    migrations = [name for name in names if name.startswith("migrate-")]
    if changes:
        assert made.strategy is not Strategy.IN_PLACE
        assert names.index("back-up") < names.index(migrations[0]) < names.index("record")
    if made.strategy is Strategy.ROLLING:
        known = situation.rehearsed
        assert known is not None and known.jump == jump and known.beside == "", "never on faith"
        assert not jump.auth and situation.gate
    if made.strategy is Strategy.STANDARD:
        assert migrations == [f"migrate-{store.role.value}" for store in situation.deployment.stores]
        order = ["back-up", "stop-old", "prove-quiet", "snapshot", migrations[0], "verify-data", "start-new", "record"]
        assert sorted(order, key=names.index) == order
        held = [step.holds_writes for step in made.steps]
        first, last = names.index("stop-old"), names.index("start-new")
        assert all(held[first : last + 1])
        assert not any(held[:first] + held[last + 1 :])
    elif made.strategy is Strategy.IN_PLACE:
        assert not migrations
        assert names.index("back-up") < names.index("stop-old") < names.index("start-new")
    else:
        # The old server goes only when the new one serves, or another of its own release does.
        assert names.index("cut-over" if made.strategy is Strategy.ONLINE else "move-old") < names.index("stop-old")
    assert all(step.reversibility is not Reversibility.NONE for step in made.steps)
    if situation.wanted is not None:
        assert made.strategy is situation.wanted
    for other in Strategy:  # what is not offered cannot be had, and what is can
        wanted = msgspec.structs.replace(situation, wanted=other)
        if other.value in made.not_offered:
            with pytest.raises(UsageError):
                plan(wanted)
        else:
            assert plan(wanted).strategy is other


@settings(max_examples=150, deadline=None)
@given(situations())
def test_same_input_same_plan_and_numbers_have_origins(situation: Situation) -> None:
    try:
        made = plan(situation)
    except (Refused, UsageError):
        return
    assert plan(situation) == made
    assert from_json(to_json(made), Plan) == made
    assert made.id == identity(made) == identity(from_json(to_json(made), Plan))
    for each in (*[step.estimate for step in made.steps], made.window):
        assert (each.low is None) == (each.high is None) == (each.origin is Origin.UNKNOWN)
        if each.low is not None and each.high is not None:
            assert 0 <= each.low <= each.high
    rehearsed = {step.name for step in made.steps if step.estimate.origin is Origin.REHEARSED}
    known = situation.rehearsed
    assert rehearsed == (
        set(known.seconds) & {step.name for step in made.steps} if known and known.jump == situation.jump else set()
    )


@settings(max_examples=60, deadline=None)
@given(
    situations(), st.sampled_from(["steps", "point_of_no_return", "deployment_digest", "reasons", "deployment_name"])
)
def test_an_edited_plan_has_another_identity(situation: Situation, field: str) -> None:
    try:
        made = plan(situation)
    except (Refused, UsageError):
        return
    value = getattr(made, field)
    edited = msgspec.structs.replace(made, **{field: value[:-1]})
    assert identity(edited) != made.id


@given(st.lists(st.sampled_from([None, 1.0, 2.5]), max_size=5))
def test_a_total_is_only_as_good_as_its_parts(values: list[float | None]) -> None:
    parts = tuple(
        Estimate(low=value, high=value, origin=Origin.UNKNOWN if value is None else Origin.REHEARSED)
        for value in values
    )
    whole = total(parts)
    if None in values:
        assert whole.origin is Origin.UNKNOWN
        assert whole.low is whole.high is None
    else:
        assert whole.low == whole.high == sum(value or 0 for value in values)
        assert whole.origin is (Origin.REHEARSED if values else Origin.COMPUTED)
