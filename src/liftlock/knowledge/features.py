"""What a release brings that is worth taking, by what a deployment uses (`data/features.toml`)."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from importlib import resources

import msgspec

from liftlock.errors import UsageError
from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Deployment, Role
from liftlock.model.release import Release
from liftlock.model.uri import Engine

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Feature(Value, frozen=True):
    """One feature: since when, what, the first step towards it, and what a deployment must use for it to matter."""

    since: str
    title: str
    how: str
    uses: tuple[str, ...]
    source: str
    evidence: tuple[str, str]

    @property
    def release(self) -> Release:
        """The first release that has it."""
        return Release(version=self.since)


class Table(Value, frozen=True):
    """The file: what the names of `uses` mean, and the features."""

    format: int
    uses: dict[str, str]
    feature: tuple[Feature, ...]


def load() -> tuple[Feature, ...]:
    """All features, oldest first."""
    return _shipped().feature


def uses() -> dict[str, str]:
    """What a deployment may use, by name, with what it means."""
    return _shipped().uses


@functools.cache
def _shipped() -> Table:
    text = resources.files("liftlock.knowledge").joinpath("data/features.toml").read_text(encoding="utf-8")
    return parse(text, "features.toml")


def parse(text: str, name: str) -> Table:
    """The table in TOML text, features oldest first. Raises UsageError with the file and the reason."""
    try:
        table = from_builtins(tomllib.loads(text), Table)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    for entry in table.feature:
        Release.parse(entry.since)
        if not entry.uses or (unknown := set(entry.uses) - table.uses.keys()):
            what = f"uses {', '.join(sorted(unknown))}, which is not explained" if entry.uses else "is for nobody"
            raise UsageError(f"{name}: {entry.since}: {entry.title}: {what}")
    return msgspec.structs.replace(table, feature=tuple(sorted(table.feature, key=lambda each: each.release.key)))


def between(source: Release, target: Release, used: Mapping[str, bool]) -> tuple[Feature, ...]:
    """What is new on the way to a release and matters to a deployment with these uses."""
    return tuple(
        entry
        for entry in load()
        if source < entry.release <= target and all(used.get(use, False) for use in entry.uses)
    )


def uses_of(deployment: Deployment) -> dict[str, bool]:
    """What a deployment uses, from its own facts. Row counts may be estimates; more than none is use."""
    tracking = deployment.store(Role.TRACKING)
    registry = deployment.store(Role.REGISTRY) or tracking
    rows = {table.name: table.rows for table in tracking.tables} if tracking else {}
    models = {table.name: table.rows for table in registry.tables} if registry else {}
    words = {word.partition("=")[0] for word in deployment.server.arguments}
    return {
        "runs": rows.get("runs", 0) > 0,
        "registry": models.get("model_versions", 0) > 0,
        "traces": rows.get("trace_info", 0) > 0,
        "basic-auth": (deployment.server.app_name or "").startswith("basic-auth"),
        "postgresql": tracking is not None and tracking.engine is Engine.POSTGRESQL,
        "file-store": not any(each.engine in (Engine.SQLITE, Engine.POSTGRESQL) for each in deployment.stores),
        "artifact-proxy": "--no-serve-artifacts" not in words,
        "reachable": deployment.server.host not in _LOOPBACK,
    }
