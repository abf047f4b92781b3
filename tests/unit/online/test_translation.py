"""Rules and refusals from knowledge and two schemas alone."""

from __future__ import annotations

from typing import Any

import pytest

from liftlock.knowledge.revisions import known
from liftlock.model.deployment import Role
from liftlock.online.translation import WHOLE_ROWS, RuleKind, translation
from liftlock.stores.live import Shape

CHAIN = known(Role.TRACKING)


def shape(name: str, columns: str, key: str, *, references: Any = (), **defaults: Any) -> Shape:
    names = tuple(columns.split())
    return Shape(
        name=name, columns=names, key=tuple(key.split()), defaults={column: defaults.get(column) for column in names},
        references=references,
    )  # fmt: skip


MODELS = shape("registered_models", "name note", "name")
NEW_MODELS = shape("registered_models", "name note workspace", "workspace name", workspace="default")


def steps(first: str, last: str) -> tuple[str, ...]:
    return CHAIN[CHAIN.index(first) : CHAIN.index(last) + 1]


def test_new_columns_get_what_old_rows_got_and_the_new_key_is_named() -> None:
    found = translation(
        Role.TRACKING, steps("6953534de441", "1b5f0d9ad7c1"),
        {"registered_models": MODELS, "inputs": shape("inputs", "a b", "a")},
        {"registered_models": NEW_MODELS, "inputs": shape("inputs", "a b step", "a", step=0),
         "workspaces": shape("workspaces", "name", "name")},
    )  # fmt: skip
    assert found.refusals == ()
    assert not found.needs_scratch
    models = found.rules["registered_models"]
    assert (models.kind, models.key) == (RuleKind.PROJECTED, ("workspace", "name"))
    assert models.constants == {"workspace": "default"}
    assert found.rules["inputs"].constants == {"step": 0}
    assert found.rules["workspaces"].kind is RuleKind.NEW


def test_a_renamed_column_is_followed() -> None:
    found = translation(
        Role.TRACKING, ("5d2d30f0abce",), {"jobs": shape("jobs", "id function_fullname", "id")},
        {"jobs": shape("jobs", "id job_name", "id")},
    )  # fmt: skip
    assert found.refusals == ()
    assert found.rules["jobs"].columns == {"id": "id", "job_name": "function_fullname"}


def test_a_family_goes_through_the_migrations_only_where_blue_has_its_root() -> None:
    trace = shape("trace_info", "request_id", "request_id")
    tags = shape("trace_tags", "key request_id value", "key request_id")
    green = {"trace_info": shape("trace_info", "request_id trace_name", "request_id"), "trace_tags": tags}
    with_traces = translation(Role.TRACKING, ("75868b020152",), {"trace_info": trace, "trace_tags": tags}, green)
    assert with_traces.refusals == ()
    assert with_traces.needs_scratch
    assert {rule.kind for rule in with_traces.rules.values()} == {RuleKind.GROUP}
    without = translation(Role.TRACKING, ("75868b020152",), {}, green)
    assert not without.needs_scratch
    assert {rule.kind for rule in without.rules.values()} == {RuleKind.NEW}


def test_clock_columns_are_named() -> None:
    jobs = shape("jobs", "id status last_update_time", "id")
    found = translation(Role.TRACKING, ("dc11669786a5",), {"jobs": jobs}, {"jobs": jobs})
    assert found.clocks == {"jobs": ("last_update_time",)}


@pytest.mark.parametrize(("revisions", "blue", "green", "reason"), [
    (("ffffffffffff",), {}, {}, "nobody has classified"),
    ((), {"a": shape("a", "x", "x")}, {}, "table a is not in the new schema"),
    ((), {"a": shape("a", "x", "x")}, {"a": shape("a", "x y", "x")}, "get in column y"),
    ((), {"a": shape("a", "x y", "x")}, {"a": shape("a", "x", "x")}, "became of column y"),
    ((), {"a": shape("a", "x", "")}, {"a": shape("a", "x", "")}, "no primary key"),
    (("6953534de441",), {"inputs": shape("inputs", "a", "a")}, {"inputs": shape("inputs", "a step", "a")},
     "lost the default"),
    ((), {"users": shape("users", "i", "i"), "experiment_permissions": shape("experiment_permissions", "i", "i"),
          "registered_model_permissions": shape("registered_model_permissions", "i", "i")},
     {}, "basic-auth keeps its tables"),
])  # fmt: skip
def test_what_is_not_known_is_refused_with_a_reason(
    revisions: tuple[str, ...], blue: dict[str, Shape], green: dict[str, Shape], reason: str
) -> None:
    found = translation(Role.TRACKING, revisions, blue, green)
    assert any(reason in each for each in found.refusals), found.refusals


def test_a_global_revision_makes_the_auth_database_go_whole_while_it_is_small() -> None:
    users = {"users": shape("users", "id username", "id")}
    green = {**users, "roles": shape("roles", "id name", "id")}
    chain = known(Role.AUTH)
    found = translation(Role.AUTH, chain, users, green, rows={"users": 3})
    assert found.refusals == ()
    assert found.whole
    assert {rule.kind for rule in found.rules.values()} == {RuleKind.WHOLE}
    assert translation(Role.AUTH, chain, users, green, rows={"users": WHOLE_ROWS + 1}).refusals
    # A revision nobody has seen is refused there too.
    assert translation(Role.AUTH, (*chain, "ffffffffffff"), users, green).refusals
    # Without the revisions that give new ids rows are projected.
    small = translation(Role.AUTH, chain[: chain.index("c3d4e5f6a7b8") + 1], users, green)
    assert small.rules["users"].kind is RuleKind.PROJECTED
