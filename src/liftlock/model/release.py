"""Releases of MLflow and the jump from one to another."""

from __future__ import annotations

import enum

from packaging.version import InvalidVersion, Version

from liftlock.errors import UsageError
from liftlock.model.codec import Value


class JumpKind(enum.StrEnum):
    """How far a jump goes, by MLflow's semantic versioning: schema changes come with minors and majors."""

    NONE = "none"
    PATCH = "patch"
    MINOR = "minor"
    MAJOR = "major"


class Release(Value, frozen=True, order=False):
    """One published version of MLflow, such as 2.9.2. Ordered as PEP 440 orders versions."""

    version: str

    @classmethod
    def parse(cls, text: str) -> Release:
        """A release from a version text. Raises UsageError when it is not a version."""
        try:
            return cls(version=str(Version(text.strip().removeprefix("v"))))
        except InvalidVersion:
            raise UsageError(f"{text!r} is not a version of MLflow", hint="Write it as 2.9.2 or 3.17.2.") from None

    @property
    def key(self) -> Version:
        """The parsed version, for comparisons."""
        return Version(self.version)

    @property
    def is_prerelease(self) -> bool:
        """Whether this is a release candidate or development release."""
        return self.key.is_prerelease

    # All four by hand: msgspec's own comparison slots hide missing ones from functools.total_ordering.
    def __lt__(self, other: Release) -> bool:
        return self.key < other.key

    def __le__(self, other: Release) -> bool:
        return self.key <= other.key

    def __gt__(self, other: Release) -> bool:
        return self.key > other.key

    def __ge__(self, other: Release) -> bool:
        return self.key >= other.key

    def __str__(self) -> str:
        return self.version


class Jump(Value, frozen=True):
    """The way from one release to another, with the migrations that lie between.

    `tracking` and `auth` list the Alembic revisions to run, oldest first; revision ids are only unique
    within a chain (`a1b2c3d4e5f6` is in both).
    """

    source: Release
    target: Release
    tracking: tuple[str, ...] = ()
    auth: tuple[str, ...] = ()

    @property
    def kind(self) -> JumpKind:
        """Patch, minor or major."""
        old, new = self.source.key, self.target.key
        if old == new:
            return JumpKind.NONE
        if old.major != new.major:
            return JumpKind.MAJOR
        return JumpKind.MINOR if old.minor != new.minor else JumpKind.PATCH

    @property
    def changes_schema(self) -> bool:
        """Whether any database must be migrated."""
        return bool(self.tracking or self.auth)
