"""The Alembic chains of the tracking and the auth database, from `revision` and `down_revision`."""

from __future__ import annotations

import ast

from liftlock.knowledge.extract.archive import Archive
from liftlock.knowledge.extract.facts import Fact, Section
from liftlock.knowledge.extract.source import parse

# Where migrations have lain: `alembic` in 1.0 to 1.3, `store/db_migrations` since; auth since 2.5.
_TRACKING = ("mlflow/store/db_migrations/versions/", "mlflow/alembic/versions/")
_AUTH = ("mlflow/server/auth/db/migrations/versions/",)
NO_PARENT = "-"


def tracking(archive: Archive) -> Section:
    """Revision -> the revision before it (`-` for the first), of the tracking and registry database."""
    return _chain(archive, _TRACKING)


def auth(archive: Archive) -> Section:
    """The same of the auth database; empty before 2.5."""
    return _chain(archive, _AUTH)


def _chain(archive: Archive, folders: tuple[str, ...]) -> Section:
    found: Section = {}
    for folder in folders:
        for name in archive.names:
            if not name.startswith(folder) or not name.endswith(".py"):
                continue
            values = _assigned(archive.read(name))
            if isinstance(revision := values.get("revision"), str):
                down = values.get("down_revision")
                found[revision] = Fact(down if isinstance(down, str) else NO_PARENT, name)
        if found:
            break
    return found


def _assigned(text: bytes) -> dict[str, object]:
    values: dict[str, object] = {}
    for node in parse(text).body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant):
            values[target.id] = value.value
    return values


def order(parents: dict[str, str]) -> tuple[str, ...]:
    """The revisions of one chain, oldest first. Raises ValueError when they are not one unbroken line."""
    after = {parent: revision for revision, parent in parents.items()}
    if len(after) != len(parents):
        raise ValueError("two revisions follow the same one")
    line: list[str] = []
    current = NO_PARENT
    while current in after:
        current = after[current]
        line.append(current)
    if len(line) != len(parents):
        raise ValueError(f"revisions outside the line: {sorted(set(parents) - set(line))}")
    return tuple(line)
