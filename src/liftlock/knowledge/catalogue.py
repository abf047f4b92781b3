"""The catalogue of MLflow releases: what each contains, read from its wheel; loaded by section when first asked.

The one that is shipped lies in `data/catalogue`; `liftlock releases refresh` makes a user's own with the same form.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Collection
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import msgspec

from liftlock.errors import ReleaseError
from liftlock.knowledge.catalogue_coding import Coded, from_bytes
from liftlock.knowledge.extract import chains
from liftlock.knowledge.extract.facts import SECTIONS, Fact, Section
from liftlock.model.codec import Value, from_json
from liftlock.model.deployment import Role
from liftlock.model.release import Jump, Release

INDEX = "index.json"
# Tables that only one of the two databases has, in every release that has the chain.
_TRACKING_TABLES = frozenset({"experiments", "runs", "metrics"})
_AUTH_TABLES = frozenset({"experiment_permissions", "registered_model_permissions", "roles", "user_role_assignments"})


class Contents(Value, frozen=True):
    """What a catalogue holds: when it was made (day), with which extractor, of which releases; what is missing, why."""

    format: int
    made: str
    extractor: int
    releases: tuple[str, ...]
    missing: dict[str, str]


class Decoded(Value, frozen=True):
    """What an Alembic revision says about who wrote a database.

    `role` is the chain it belongs to (None: both or neither). `head_of` are the releases that leave a database at
    exactly this revision; empty for one that lies inside a migration to `since`, the first release that knows it.
    """

    revision: str
    role: Role | None
    head_of: tuple[Release, ...] = ()
    since: Release | None = None
    ambiguous: bool = False
    message: str = ""


class Catalogue:
    """The facts of all releases. `place` is a directory of the form `releases refresh` writes."""

    def __init__(self, place: Traversable) -> None:
        self._place = place
        try:
            self.contents = from_json(place.joinpath(INDEX).read_bytes(), Contents)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            raise ReleaseError(
                f"the catalogue of releases is damaged in {INDEX}: {error}",
                hint="Run `liftlock releases refresh` to make it again, or delete it to use the one that is shipped.",
            ) from error
        self.releases = tuple(Release(version=version) for version in self.contents.releases)
        self._numbers = {release.key: number for number, release in enumerate(self.releases)}
        self._coded: dict[str, Coded] = {}
        self._sections: dict[tuple[str, int], Section] = {}

    @property
    def newest(self) -> Release:
        """The newest release described."""
        return self.releases[-1]

    def require(self, release: Release) -> Release:
        """The release as the catalogue names it. Raises ReleaseError with the nearest names when it has none."""
        number = self._numbers.get(release.key)
        if number is not None:
            return self.releases[number]
        near = ", ".join(str(each) for each in self.near(release))
        raise ReleaseError(
            f"the catalogue of {self.contents.made} knows no MLflow {release}",
            hint=f"Near it are: {near}. `liftlock releases refresh` reads newer releases from your package index.",
        )

    def near(self, release: Release, number: int = 3) -> tuple[Release, ...]:
        """Releases of the same minor, then those written alike."""
        same = [each for each in self.releases if each.key.release[:2] == release.key.release[:2]]
        texts = [each.version for each in self.releases]
        alike = difflib.get_close_matches(release.version, texts, n=number, cutoff=0.4)
        below = [each for each in self.releases if each < release][-1:]
        chosen = dict.fromkeys([*reversed(same), *(Release(version=text) for text in alike), *below])
        return tuple(sorted(list(chosen)[:number], reverse=True))

    def coded(self, section: str) -> Coded:
        """A whole section, as it is stored."""
        if section not in self._coded:
            name = f"{section}.json.xz"
            try:
                data = self._place.joinpath(name).read_bytes()
            except OSError as error:
                raise ReleaseError(
                    f"the catalogue of releases lacks {name}", hint="Run `liftlock releases refresh` to make it again."
                ) from error
            self._coded[section] = from_bytes(data, name)
        return self._coded[section]

    def number(self, release: Release) -> int:
        """The place of a release in the order of versions. Raises ReleaseError when it is unknown."""
        return self._numbers[self.require(release).key]

    def section(self, name: str, release: Release) -> Section:
        """One section of one release: key -> value and where it was read."""
        key = (name, self.number(release))
        if key not in self._sections:
            self._sections[key] = self.coded(name).at(key[1])
        return self._sections[key]

    def fact(self, section: str, key: str, release: Release) -> Fact | None:
        """One fact, or None when the release does not have it."""
        return self.coded(section).fact(key, self.number(release))

    def python(self, release: Release) -> str:
        """The declared Requires-Python (`>=3.10`); empty where the release declares none (before 1.7)."""
        fact = self.fact("release", "requires_python", release)
        return fact.value if fact is not None else ""

    def built(self, release: Release) -> str:
        """The day its distribution was made (`2026-10-21`), which orders publication better than version numbers."""
        fact = self.fact("release", "built", release)
        return fact.value if fact is not None else ""

    def published(self) -> tuple[Release, ...]:
        """All releases in the order they were made."""
        return tuple(sorted(self.releases, key=lambda release: (self.built(release), release.key)))

    def chain(self, release: Release, role: Role) -> tuple[str, ...]:
        """The Alembic revisions of a database of this role, oldest first; empty when the release has none."""
        section = self.section(_chain(role), release)
        try:
            return chains.order({revision: fact.value for revision, fact in section.items()})
        except ValueError as error:
            raise ReleaseError(f"the {role} revisions of MLflow {release} are not one line: {error}") from error

    def head(self, release: Release, role: Role) -> str | None:
        """The revision at which this release leaves a database, or None."""
        line = self.chain(release, role)
        return line[-1] if line else None

    def jump(self, source: Release, target: Release) -> Jump:
        """The way between two releases with the migrations to run. A way back has none (use a snapshot)."""
        steps = {}
        for role in (Role.TRACKING, Role.AUTH):
            known = set(self.chain(source, role))
            steps[role] = tuple(revision for revision in self.chain(target, role) if revision not in known)
        if self.require(target) < self.require(source):
            steps = dict.fromkeys(steps, ())
        return Jump(
            source=self.require(source), target=self.require(target),
            tracking=steps[Role.TRACKING], auth=steps[Role.AUTH],
        )  # fmt: skip

    def release_of_head(
        self, revision: str, role: Role | None = None, tables: Collection[str] | None = None
    ) -> Decoded:
        """Decode a revision found in a database.

        A revision id alone does not say which chain it is of (`a1b2c3d4e5f6` is in both): give the role, or the
        tables of the database. Without either, an id of both chains comes back as ambiguous.
        """
        if role is None and tables is not None:
            role = _role_of(tables)
        roles = (Role.TRACKING, Role.AUTH) if role is None else (role,)
        holding = [each for each in roles if revision in self.coded(_chain(each)).events]
        if len(holding) > 1:
            return Decoded(
                revision=revision, role=None, ambiguous=True,
                message=f"{revision} is a revision of both the tracking and the auth database; the tables decide",
            )  # fmt: skip
        if not holding:
            return Decoded(
                revision=revision, role=None,
                message=f"{revision} is no revision of any MLflow this catalogue ({self.contents.made}) knows: "
                "another program's, or a newer release's",
            )  # fmt: skip
        found = holding[0]
        head_of = tuple(release for release in self.releases if self.head(release, found) == revision)
        since = self.releases[self.coded(_chain(found)).holders(revision)[0]]
        if head_of:
            names = str(head_of[0]) if len(head_of) == 1 else f"{head_of[0]} to {head_of[-1]}"
            message = f"a {found} database as MLflow {names} leaves it"
        else:
            message = f"a {found} database inside the migration to MLflow {since}, which was not finished"
        return Decoded(revision=revision, role=found, head_of=head_of, since=since, message=message)


def _role_of(tables: Collection[str]) -> Role | None:
    names = set(tables)
    tracking, auth = bool(names & _TRACKING_TABLES), bool(names & _AUTH_TABLES)
    if tracking == auth:
        return None  # both in one database, or neither: the caller knows the version table, we do not
    return Role.TRACKING if tracking else Role.AUTH


def _chain(role: Role) -> str:
    return "auth" if role is Role.AUTH else "tracking"


@functools.cache
def load(place: Path | None = None) -> Catalogue:
    """The catalogue in a directory, or the shipped one. Raises ReleaseError when it is damaged."""
    return Catalogue(place if place is not None else resources.files("liftlock.knowledge").joinpath("data/catalogue"))


def releases() -> tuple[Release, ...]:
    """All releases the shipped catalogue describes, oldest version first."""
    return load().releases


__all__ = ["SECTIONS", "Catalogue", "Contents", "Decoded", "load", "releases"]
