"""What a pin is, and what it should become."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field

from packaging.version import Version

from liftlock.errors import Refused

# The distributions that MLflow publishes together, under one version.
PACKAGES = frozenset({"mlflow", "mlflow-skinny", "mlflow-tracing"})


class Syntax(enum.StrEnum):
    """How the text of a pin is written, which decides how a version is put into it."""

    PEP440 = "pep440"  # ==2.9.2  >=2.8,<3  ~=2.9
    POETRY = "poetry"  # ^2.9  ~2.9  2.9.2  >=2.9 <3
    CONDA = "conda"  # =2.9.2  ==2.9.2  =2.9.2=py311_0  >=2.9,<3
    VERSION = "version"  # 2.9.2  v2.9.2  v2.9.2-full
    DIGEST = "digest"  # @sha256:... or sha256:... of an image
    HASHES = "hashes"  # one or more --hash=sha256:... of a requirement


@dataclass(frozen=True)
class Pin:
    """One place that names a version: the half-open span `start:end` of the document's text, and that text.

    `package` is the distribution, or the image's name; `what` says in a word or two where it stands (`image`,
    `requirement`). Exact pins of one `scope` and package must agree, because one installer reads them together.
    `marker` is the environment marker of a requirement.
    """

    start: int
    end: int
    text: str
    package: str
    syntax: Syntax
    what: str
    scope: str = ""
    marker: str = ""

    @property
    def follows(self) -> bool:
        """Whether it belongs to the version beside it, and moves only with that."""
        return self.syntax in (Syntax.DIGEST, Syntax.HASHES)


@dataclass(frozen=True)
class Target:
    """The version to write, with what only the world knows about it.

    `digests` maps an image's name as written (without tag) to its new `sha256:...`; `drop_digests` removes digests
    that have no entry. `hashes` maps a package to the `sha256:...` of its new files. `python` is which Pythons the
    version runs on (`>=3.10`), empty when nobody knows.
    """

    version: Version
    digests: Mapping[str, str] = field(default_factory=dict)
    drop_digests: bool = False
    python: str = ""
    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class BadFile(Refused):
    """A file that stops the whole change: which one, which line, why."""

    def __init__(self, path: str, line: int, reason: str, *, hint: str = "") -> None:
        super().__init__(f"{path}:{line}: {reason}", hint=hint)
        self.path = path
        self.line = line
        self.reason = reason


class CannotParse(ValueError):
    """A format could not read its text; `line` counts from 1."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line
        self.reason = reason


class CannotWrite(ValueError):
    """A pin is written in a way that cannot name the new version without guessing."""
