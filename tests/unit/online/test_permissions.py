"""Grants of roles in the tables of older releases, as far as these can say them."""

from __future__ import annotations

from typing import Any

import pytest

from liftlock.online.permissions import legacy_permissions

OLD = {
    "users": ("id", "username"), "experiment_permissions": ("id", "experiment_id", "user_id", "permission"),
    "registered_model_permissions": ("id", "name", "user_id", "permission"),
    "scorer_permissions": ("id", "experiment_id", "scorer_name", "user_id", "permission"),
}  # fmt: skip
WITH_GATEWAY = {**OLD, "gateway_secret_permissions": ("id", "secret_id", "user_id", "permission")}


def new(*grants: tuple[str, str, str], role: str = "__user_7__", workspace: str = "default", **more: Any) -> Any:
    return {
        "roles": [{"id": 1, "name": role, "workspace": workspace}],
        "user_role_assignments": [{"id": 1, "role_id": 1, "user_id": 7}],
        "role_permissions": [
            {"id": number, "role_id": 1, "resource_type": kind, "resource_pattern": pattern, "permission": permission}
            for number, (kind, pattern, permission) in enumerate(grants, 1)
        ],
        **more,
    }  # fmt: skip


def row(number: int, experiment: str, permission: str) -> dict[str, Any]:
    return {"id": number, "experiment_id": experiment, "user_id": 7, "permission": permission}


def test_a_new_grant_becomes_a_row_with_a_new_id() -> None:
    found = legacy_permissions(
        new(("experiment", "5", "EDIT"), ("prompt", "p", "READ"), ("scorer", "5/a%2Fb", "MANAGE"),
            experiment_permissions=[row(3, "1", "NO_PERMISSIONS")]), OLD,
    )  # fmt: skip
    # An explicit denial, which roles cannot say, stays.
    assert found.rows["experiment_permissions"] == [row(3, "1", "NO_PERMISSIONS"), row(4, "5", "EDIT")]
    assert found.rows["registered_model_permissions"] == [{"id": 1, "name": "p", "user_id": 7, "permission": "READ"}]
    assert found.rows["scorer_permissions"][0]["scorer_name"] == "a/b"
    assert found.inexpressible == []


def test_a_changed_grant_keeps_its_row_and_one_taken_away_goes() -> None:
    found = legacy_permissions(
        new(("experiment", "1", "MANAGE"), experiment_permissions=[row(3, "1", "READ"), row(4, "2", "EDIT")]), OLD
    )
    assert found.rows["experiment_permissions"] == [row(3, "1", "MANAGE")]


def test_the_widest_of_several_grants_counts() -> None:
    given = new(("experiment", "1", "READ"))
    given["roles"].append({"id": 2, "name": "team", "workspace": "default"})
    given["user_role_assignments"].append({"id": 2, "role_id": 2, "user_id": 7})
    given["role_permissions"].append(
        {"id": 9, "role_id": 2, "resource_type": "experiment", "resource_pattern": "1", "permission": "EDIT"}
    )
    found = legacy_permissions(given, OLD)
    assert found.rows["experiment_permissions"] == [row(1, "1", "EDIT")]
    assert {table for table, _, _ in found.inexpressible} == {"roles", "user_role_assignments", "role_permissions"}


@pytest.mark.parametrize(("grant", "role", "workspace"), [
    (("experiment", "*", "READ"), "__user_7__", "default"), (("workspace", "*", "USE"), "__user_7__", "default"),
    (("experiment", "5", "READ"), "__user_7__", "elsewhere"), (("gateway_secret", "s", "USE"), "__user_7__", "default"),
    (("unheard_of", "s", "USE"), "__user_7__", "default"),
])  # fmt: skip
def test_what_the_old_tables_cannot_say_is_named(grant: Any, role: str, workspace: str) -> None:
    found = legacy_permissions(new(grant, role=role, workspace=workspace), OLD)
    assert all(not rows for rows in found.rows.values())
    assert ("role_permissions", (1,)) in [each[:2] for each in found.inexpressible]


def test_use_is_read_where_use_is_unknown() -> None:
    given = new(("experiment", "5", "USE"))
    assert legacy_permissions(given, OLD).rows["experiment_permissions"][0]["permission"] == "READ"
    assert legacy_permissions(given, WITH_GATEWAY).rows["experiment_permissions"][0]["permission"] == "USE"


def test_ids_are_text_where_rows_are() -> None:
    given = new(("experiment", "5", "EDIT"))
    given["user_role_assignments"][0]["user_id"] = "7"
    assert legacy_permissions(given, OLD).rows["experiment_permissions"][0]["id"] == "1"
