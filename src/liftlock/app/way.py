"""`releases path`: the way from one release to another, by the catalogue. Light, because `plan` asks it too. Pure."""

from __future__ import annotations

from pathlib import Path

from liftlock.errors import UsageError
from liftlock.knowledge import stops
from liftlock.knowledge.catalogue import Catalogue
from liftlock.knowledge.stops import Stop
from liftlock.model.codec import Value
from liftlock.model.release import JumpKind, Release


class Migration(Value, frozen=True):
    """One revision to run: of which database, since which release, and what its file calls it."""

    chain: str
    revision: str
    release: Release
    title: str


class Way(Value, frozen=True):
    """The way between two releases. `stops` are releases one must stand on in between, `why` says why (or why none)."""

    source: Release
    target: Release
    kind: JumpKind
    stops: tuple[Stop, ...]
    why: str
    python: str
    migrations: tuple[Migration, ...]


def way(catalogue: Catalogue, source: Release, target: Release) -> Way:
    """The way from one release to another. Raises UsageError for a way back: that is a restore, not an upgrade."""
    if target < source:
        raise UsageError(
            f"MLflow {target} is older than {source}: databases have no way back",
            hint="`liftlock rollback` returns to the release before an upgrade, from its snapshot.",
        )
    jump = catalogue.jump(source, target)
    needed = stops.between(jump.source, jump.target)
    migrations = tuple(
        migration(catalogue, name, revision, target)
        for name, revisions in (("tracking", jump.tracking), ("auth", jump.auth))
        for revision in revisions
    )
    floors = catalogue.python(source), catalogue.python(target)
    return Way(
        source=jump.source, target=jump.target, kind=jump.kind, stops=needed, migrations=migrations,
        why="; ".join(f"{stop.at}: {stop.reason}" for stop in needed) or stops.NONE,
        python="" if floors[0] == floors[1] else f"{floors[0] or 'not declared'} becomes {floors[1] or 'not declared'}",
    )  # fmt: skip


def migration(catalogue: Catalogue, chain: str, revision: str, target: Release) -> Migration:
    """A revision of one chain as the target has it. Raises ReleaseError for a release the catalogue does not know."""
    fact = catalogue.fact(chain, revision, target)
    assert fact is not None
    title = Path(fact.source).stem.removeprefix(f"{revision}_").replace("_", " ")
    first = catalogue.releases[catalogue.coded(chain).holders(revision)[0]]
    return Migration(chain=chain, revision=revision, release=first, title=title)
