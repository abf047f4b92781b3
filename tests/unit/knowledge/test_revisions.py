"""Every revision is classified, by a record of it running; what nobody knows is global."""

from __future__ import annotations

import msgspec
import pytest

from liftlock.knowledge.revisions import (
    Annotation,
    Fill,
    Recorded,
    Revision,
    RevisionKind,
    jump,
    known,
    plain,
    revision,
)
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.online.families import FAMILIES

# The newest heads whose migration files could be read: 3.18.0.
TRACKING, AUTH = "f4a9b2c7d1e6", "f1a2b3c4d5e6"


@pytest.mark.parametrize(("role", "first", "last", "number"), [
    (Role.TRACKING, "97727af70f4d", TRACKING, 51), (Role.REGISTRY, "97727af70f4d", TRACKING, 51),
    (Role.AUTH, "8606fa83a998", AUTH, 6),
])  # fmt: skip
def test_the_records_are_one_line_from_the_oldest_head_to_the_newest(
    role: Role, first: str, last: str, number: int
) -> None:
    chain = known(role)
    before = first
    for each in jump(role, chain):
        assert each.recorded is not None
        assert each.recorded.after == before
        before = each.id
    assert (before, len(chain)) == (last, number)


@pytest.mark.parametrize("role", [Role.TRACKING, Role.AUTH])
def test_each_is_classified_and_was_seen_on_rows_and_on_both_engines(role: Role) -> None:
    for each in jump(role, known(role)):
        assert each.recorded is not None
        assert each.kind is not RevisionKind.GLOBAL or each.annotation is not None, each.id
        touched = each.recorded.added or each.recorded.changed or each.recorded.writes
        assert not touched or each.recorded.seen >= 4, each.id
        assert each.recorded.work.keys() == set() or each.recorded.work.keys() <= {Engine.SQLITE, Engine.POSTGRESQL}


def test_what_is_annotated_names_families_that_exist_and_columns_that_change() -> None:
    found = {each.id: each.annotation for each in jump(Role.TRACKING, known(Role.TRACKING)) if each.annotation}
    assert found.keys() == {"75868b020152", "dc11669786a5", "8b6ad64cb8f5"}
    for name, annotation in found.items():
        recorded = revision(Role.TRACKING, name).recorded
        assert recorded is not None
        assert annotation.families
        members = {table for family in annotation.families for table in FAMILIES[family].members}
        # Whatever it touches is in the family: the closure, as far as statements show it.
        assert {*recorded.changed, *recorded.writes, *recorded.reads} <= members
        assert annotation.clocks.keys() <= set(recorded.changed)


def test_an_id_in_two_chains_is_two_revisions() -> None:
    tracking, auth = revision(Role.TRACKING, "a1b2c3d4e5f6"), revision(Role.AUTH, "a1b2c3d4e5f6")
    assert tracking.recorded is not None
    assert auth.recorded is not None
    assert tracking.recorded.created == ("spans",)
    assert "gateway_secret_permissions" in auth.recorded.created


def test_facts_that_were_read_by_hand_agree() -> None:
    """Columns 2.9.2's tables gain on the way to the newest release (see the schema's documentation)."""
    gained: dict[str, dict[str, Fill]] = {}
    steps = known(Role.TRACKING)
    for each in jump(Role.TRACKING, steps[steps.index("867495a8f9d4") :]):
        assert each.recorded is not None
        for table, columns in each.recorded.added.items():
            gained.setdefault(table, {}).update(columns)
    workspaces = ("experiments", "registered_models", "model_versions", "registered_model_aliases")
    assert all(gained[table] == {"workspace": Fill.DEFAULT} for table in workspaces)
    assert gained["inputs"] == {"step": Fill.DEFAULT}
    assert "metrics" not in gained
    rename = revision(Role.TRACKING, "5d2d30f0abce").recorded
    assert rename is not None
    assert rename.renamed == {"jobs": {"function_fullname": "job_name"}}
    index = revision(Role.TRACKING, "a5b4c3d2e1f0").recorded
    assert index is not None
    assert index.work[Engine.POSTGRESQL].indexed == ("metrics",)


def test_what_nobody_knows_is_global() -> None:
    unknown = revision(Role.TRACKING, "ffffffffffff")
    assert unknown.kind is RevisionKind.GLOBAL
    assert "nobody" in unknown.why


@pytest.mark.parametrize("more", [
    {"changed": ("runs",)}, {"reads": ("runs",)}, {"writes": ("runs",)}, {"dropped": ("runs",)},
    {"added": {"runs": {"x": Fill.COMPUTED}}},
])  # fmt: skip
def test_what_does_more_than_was_explained_is_global(more: dict[str, object]) -> None:
    harmless = Recorded(title="t", after="a", created=("new",), added={"runs": {"x": Fill.DEFAULT, "y": Fill.NULL}})
    assert plain(harmless)
    assert Revision(id="b", chain="tracking", recorded=harmless).kind is RevisionKind.THROUGH
    recorded = msgspec.structs.replace(harmless, **more)
    assert not plain(recorded)
    assert Revision(id="b", chain="tracking", recorded=recorded).kind is RevisionKind.GLOBAL
    read = Annotation(kind=RevisionKind.GROUP_LOCAL, why="read", source="its file", families=("trace",))
    assert Revision(id="b", chain="tracking", recorded=recorded, annotation=read).kind is RevisionKind.GROUP_LOCAL
    # An annotation alone is no record.
    assert Revision(id="b", chain="tracking", annotation=read).kind is RevisionKind.GLOBAL
