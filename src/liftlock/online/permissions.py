"""Grants of roles as the old per-resource permission tables can say them (the way back over auth's e5f6a7b8c9d0).

That revision left the old tables as they were, so they still hold what was there at the cut-over, explicit denials too.
A grant on one resource of the default workspace becomes a row of its table; a row whose grant was taken away goes; a
denial (`NO_PERMISSIONS`), which roles cannot say, stays. Of several grants on one resource the widest counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from liftlock.stores.live import Key

Named = Mapping[str, Any]
_DEFAULT = "default"
_WIDTH = {"READ": 1, "USE": 2, "EDIT": 3, "MANAGE": 4}
_SYNTHETIC = re.compile(r"^__user_\d+__$")
# Kind of resource -> table, and its columns that name the resource.
_TABLES = {
    "experiment": ("experiment_permissions", ("experiment_id",)),
    "registered_model": ("registered_model_permissions", ("name",)),
    "prompt": ("registered_model_permissions", ("name",)),
    "scorer": ("scorer_permissions", ("experiment_id", "scorer_name")),
    "gateway_secret": ("gateway_secret_permissions", ("secret_id",)),
    "gateway_endpoint": ("gateway_endpoint_permissions", ("endpoint_id",)),
    "gateway_model_definition": ("gateway_model_definition_permissions", ("model_definition_id",)),
}


@dataclass
class Legacy:
    """Rows of the old tables, and what they cannot say: (table, primary key, why)."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    inexpressible: list[tuple[str, Key, str]] = field(default_factory=list)


def legacy_permissions(new: Mapping[str, Sequence[Named]], old: Mapping[str, Sequence[str]]) -> Legacy:
    """`new` has all rows of the new schema by table, `old` the columns of the old one."""
    found = Legacy()
    roles = {role["id"]: role for role in new.get("roles", ())}
    users: dict[Any, list[Any]] = {}
    for each in new.get("user_role_assignments", ()):
        users.setdefault(each["role_id"], []).append(each["user_id"])
        if not _synthetic(roles.get(each["role_id"])):
            found.inexpressible.append(("user_role_assignments", (each["id"],), "the old release has no roles"))
    found.inexpressible += [
        ("roles", (role["id"],), "the old release has no roles") for role in roles.values() if not _synthetic(role)
    ]
    grants: dict[str, dict[tuple[Any, ...], str]] = {}
    for each in new.get("role_permissions", ()):
        role = roles.get(each["role_id"])
        resource = _resource(each, role, old)
        if resource is None:
            why = (
                f"the old release cannot say {each['permission']} on {each['resource_type']} {each['resource_pattern']}"
            )
            found.inexpressible.append(("role_permissions", (each["id"],), why))
            continue
        if not _synthetic(role):
            found.inexpressible.append(("role_permissions", (each["id"],), "the old release has no roles"))
        table, names = resource
        for user in users.get(each["role_id"], ()):
            known = grants.setdefault(table, {})
            known[(user, *names)] = _wider(known.get((user, *names)), _said(each["permission"], old))
    for table, columns in sorted(dict(_TABLES.values()).items()):
        if table in old:
            found.rows[table] = _table(new.get(table, ()), columns, old[table], grants.get(table, {}))
    return found


def _table(
    snapshot: Sequence[Named], columns: Sequence[str], known: Sequence[str], grants: Mapping[tuple[Any, ...], str]
) -> list[dict[str, Any]]:
    rows, said = [], set()
    for row in snapshot:
        if row.get("workspace", _DEFAULT) != _DEFAULT:
            continue
        key = (row["user_id"], *(row[column] for column in columns))
        said.add(key)
        if key in grants:
            rows.append({**row, "permission": grants[key]})
        elif row["permission"] not in _WIDTH:
            rows.append(dict(row))
    number = max((int(row["id"]) for row in snapshot), default=0)
    for key, permission in sorted(grants.items(), key=str):
        if key not in said:
            number += 1
            # PostgreSQL's rows are text, SQLite's are not: as the user's id is.
            row = {"id": type(key[0])(number), "user_id": key[0], "permission": permission}
            rows.append({**row, **dict(zip(columns, key[1:], strict=True))})
    return [{column: value for column, value in row.items() if column in known} for row in rows]


def _resource(grant: Named, role: Named | None, old: Mapping[str, Sequence[str]]) -> tuple[str, tuple[str, ...]] | None:
    """The old table of a grant and the values that name its resource, or None."""
    kind, pattern = grant["resource_type"], grant["resource_pattern"]
    if role is None or role["workspace"] != _DEFAULT or pattern == "*" or kind not in _TABLES:
        return None
    table, _ = _TABLES[kind]
    if table not in old:
        return None
    if kind != "scorer":
        return table, (pattern,)
    experiment, _, name = pattern.partition("/")
    return table, (experiment, unquote(name))


def _said(permission: str, old: Mapping[str, Sequence[str]]) -> str:
    """USE came with the gateway's tables; before that, READ is the nearest that gives no more."""
    return "READ" if permission == "USE" and "gateway_secret_permissions" not in old else permission


def _wider(one: str | None, other: str) -> str:
    return other if one is None or _WIDTH.get(other, 0) > _WIDTH.get(one, 0) else one


def _synthetic(role: Named | None) -> bool:
    return role is not None and _SYNTHETIC.match(role["name"]) is not None
