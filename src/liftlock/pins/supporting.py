"""Do the other pins of a repository allow the new version? Resolve and see; where not, say why and what would."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.errors import LiftlockError
from liftlock.pins.document import Document
from liftlock.pins.formats.requirements import Requirements, logical_lines, references
from liftlock.pins.model import PACKAGES
from liftlock.pins.toml_scan import load

# Resolve requirements under constraints to a version by canonical name; raises LiftlockError with the reason.
Resolver = Callable[[Sequence[str], Sequence[str]], Mapping[str, str]]


@dataclass(frozen=True)
class Proposed:
    """A pin that would have to move: what stands there, and the version the resolver chose without it."""

    package: str
    before: str
    after: str


@dataclass(frozen=True)
class Support:
    """Whether what one file asks for can be installed with the new version; if not, why, and what would help.

    `requirements` is what was resolved; `proposals` is empty when nothing in this file stands in the way.
    """

    path: str
    requirements: tuple[str, ...]
    conflict: str = ""
    proposals: tuple[Proposed, ...] = ()


def supports(documents: Mapping[str, Document], paths: Sequence[str], resolve: Resolver) -> list[Support]:
    """Resolve what each file (as it will be) asks for. Files without requirements of MLflow are left out.

    `documents` are all documents of the tree as they will be, for `-r` and `-c` lines.
    """
    found = []
    for path in paths:
        wanted, bounds = _asked(documents[path], documents)
        if any(canonicalize_name(each.name) in PACKAGES for each in wanted):
            found.append(_support(path, wanted, bounds, resolve))
    return found


def _support(path: str, wanted: list[Requirement], bounds: list[Requirement], resolve: Resolver) -> Support:
    words = tuple(map(str, wanted))
    try:
        resolve(words, [str(each) for each in bounds])
    except LiftlockError as error:
        return Support(path, words, error.message, _proposals(wanted, bounds, resolve))
    return Support(path, words)


def _proposals(wanted: list[Requirement], bounds: list[Requirement], resolve: Resolver) -> tuple[Proposed, ...]:
    """Resolve without the specifiers of everything but MLflow; what then falls outside its old one has to move."""
    try:
        chosen = resolve([_loose(each) for each in wanted], [])
    except LiftlockError:
        return ()
    moving = {}
    for each in (*wanted, *bounds):
        name = canonicalize_name(each.name)
        version = chosen.get(name)
        if (
            version
            and name not in PACKAGES
            and each.specifier
            and not each.specifier.contains(version, prereleases=True)
        ):
            moving[name] = Proposed(name, str(each.specifier), version)
    return tuple(moving[name] for name in sorted(moving))


def _loose(requirement: Requirement) -> str:
    if canonicalize_name(requirement.name) in PACKAGES or requirement.url:
        return str(requirement)
    loose = Requirement(str(requirement))
    loose.specifier = type(loose.specifier)()
    return str(loose)


def _asked(document: Document, documents: Mapping[str, Document]) -> tuple[list[Requirement], list[Requirement]]:
    """Requirements and constraints of one file."""
    if PurePosixPath(document.path).name == "pyproject.toml":
        listed = load(document.text).get("project", {}).get("dependencies", [])
        return [each for text in listed if (each := _parsed(text)) is not None], []
    if not Requirements().recognises(PurePosixPath(document.path), document.text):
        return [], []
    return _chained(document, documents, set())


def _chained(
    document: Document, documents: Mapping[str, Document], seen: set[str]
) -> tuple[list[Requirement], list[Requirement]]:
    seen.add(document.path)
    wanted = [each for _, line in logical_lines(document.text) if (each := _parsed(line)) is not None]
    bounds: list[Requirement] = []
    for reference in references(document.text):
        path = posixpath.normpath(posixpath.join(posixpath.dirname(document.path), reference.path))
        if path in seen or path not in documents:
            continue
        more, more_bounds = _chained(documents[path], documents, seen)
        (bounds if reference.constraint else wanted).extend(more)
        bounds += more_bounds
    return wanted, bounds


def _parsed(text: str) -> Requirement | None:
    bare = text.replace("\\\r\n", " ").replace("\\\n", " ").split(" #")[0].split(" --hash")[0].strip()
    if not bare or bare.startswith(("#", "-")):
        return None
    try:
        return Requirement(bare)
    except InvalidRequirement:
        return None  # a path or an archive: the installer's own matter
