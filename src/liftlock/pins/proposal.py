"""A whole change proposed: files before and after, locks rewritten, what is stale, what is left over."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from liftlock.errors import Refused
from liftlock.pins import lock_tools, relock
from liftlock.pins.change import Change, at_target, change, for_older
from liftlock.pins.document import Document
from liftlock.pins.formats.dockerfile import Dockerfile
from liftlock.pins.formats.interface import Group
from liftlock.pins.formats.release_config import ReleaseConfig
from liftlock.pins.formats.security import Security
from liftlock.pins.images import followed, name_of
from liftlock.pins.leftovers import Kind, Leftover, leftovers
from liftlock.pins.model import PACKAGES, Syntax, Target
from liftlock.pins.relock import Stale, Tools
from liftlock.pins.survey import Survey, Surveyed, find
from liftlock.pins.tracking import Update, read, security_row, updated
from liftlock.pins.transaction import NewContent
from liftlock.pins.tree import Tree
from liftlock.pins.writing import named

# lines between a section `mlflow:` and the tag of its image: image, registry, repository, tag
_SECTION = 4


@dataclass(frozen=True)
class Proposal:
    """`pins` counts the places that name a version, `old` lists the versions they name now; `documents` are all
    documents that mention MLflow as they will be, locks left out. `frozen` says where and why the repository wants no
    change of version now; empty when it does not.
    """

    target: Target
    pins: int
    old: tuple[str, ...]
    changes: tuple[Change, ...]
    stale: tuple[Stale, ...]
    leftovers: tuple[Leftover, ...]
    documents: tuple[Document, ...]
    frozen: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing would name another version afterwards; comments and documentation do not count."""
        return not self.stale and not any(each.kind is Kind.PLACE for each in self.leftovers)

    @property
    def pinned(self) -> bool:
        """Whether nothing names another version now."""
        return self.complete and not self.changes

    def contents(self, tree: Tree) -> list[NewContent]:
        """What the transaction writes, by paths from the repository's top."""
        folder = tree.root.relative_to(tree.top)
        return [NewContent((folder / each.path).as_posix(), each.before.raw, each.after.raw) for each in self.changes]

    def diff(self) -> str:
        """All diffs, in order of path."""
        return "\n".join(each.diff() for each in self.changes)


def packages(found: Survey, *, docs: bool) -> tuple[str, ...]:
    """The distributions that pins of this survey name, and so must exist in the target's version."""
    groups = _groups(docs)
    return tuple(sorted({pin.package for each in found.group(*groups, Group.LOCK) for pin in each.pins} & PACKAGES))


def hashed(found: Survey) -> tuple[str, ...]:
    """The distributions whose hashes are written in a file that no tool can make again."""
    return tuple(
        sorted(
            {
                pin.package
                for each in found.group(Group.PINS)
                for pin in each.pins
                if pin.syntax is Syntax.HASHES and not lock_tools.is_lock(each)
            }
        )
    )


def propose(
    tree: Tree,
    found: Survey,
    target: Target,
    *,
    docs: bool,
    tools: Tools | None,
    past: Collection[str] = (),
    tracking: Update | None = None,
) -> Proposal:
    """Work out the change; nothing is written to the tree. Raises BadFile or Refused.

    `tools` is what lock tools run with; None leaves every lock as it is and reports it as stale.
    `past` are versions that no file may name any more, besides those the pins name now; `tracking`
    is written into the tracking file and the table of SECURITY.md.
    """
    plain = [each for each in found.group(*_groups(docs)) if not lock_tools.is_lock(each)]
    target = _with_digest(plain, target, tracking)
    locks = [each for each in found.files if lock_tools.is_lock(each) and each.format.group is not Group.DOCS]
    changes = [made for each in plain if (made := change(each, target)) is not None]
    if tracking is not None:
        changes = _tracked(plain, changes, tracking)
    behind = [each for each in locks if not at_target(each.document, each.pins, target)]
    stale: list[Stale] = []
    jobs: list[lock_tools.Job] = []
    manifests = _manifests(plain, changes)
    for each in behind:
        command = (
            lock_tools.job(each, target, found.paths, manifests)
            if tools is not None
            else "locks were not to be rewritten"
        )
        if isinstance(command, str):
            stale.append(relock.stale_lock(each, command))
        else:
            jobs.append(command)
    if tools is not None:
        locked, unmoved = relock.relock(tree, found.paths, changes, jobs, target, tools)
        changes += locked
        stale += unmoved
    taken = [*plain, *locks]
    moving = [pin for each in taken for pin in each.pins if not for_older(pin, target)]
    old = {version for pin in moving if (version := named(pin)) and version != str(target.version)}
    after = {each.path: each.after for each in changes}
    skipped = {each.document.path for each in locks}
    documents = [after.get(each.path, each) for each in found.mentions if each.path not in skipped]
    known = {each.document.path: _reach(each) for each in taken}
    return Proposal(
        target=target,
        pins=sum(1 for each in taken for pin in each.pins if not pin.follows),
        old=tuple(sorted(old)),
        changes=tuple(sorted(changes, key=lambda each: each.path)),
        stale=tuple(sorted(stale, key=lambda each: each.path)),
        leftovers=tuple(leftovers(documents, known, {*old, *past}, target, _older(plain, after, target))),
        documents=tuple(documents),
        frozen=_frozen(plain, tracking) if old else "",
    )


def _tracked(plain: list[Surveyed], changes: list[Change], update: Update) -> list[Change]:
    """The changes with the update applied on top. Raises Refused when no file tracks the release."""
    by_path = {each.path: each for each in changes}
    if not any(each.format.name == ReleaseConfig.name for each in plain):
        raise Refused(
            "no file tracks the release, so there is nowhere to write this; nothing was changed",
            hint="Begin config/mlflow_release.yaml with a line `current_version: VERSION`.",
        )
    before = _tracked_image(plain)
    for each in plain:
        made = by_path.get(each.document.path, Change(each.document, each.document))
        moved = made.moved
        if each.format.name == ReleaseConfig.name:
            after = updated(made.after, update)
        elif each.format.name == Dockerfile.name and before and update.container_image:
            after, gone = followed(made.after, before, update.container_image)
            # one line for a place: the tag that moved on the way is part of the image that did
            moved = (*(old for old in moved if old.line not in {new.line for new in gone}), *gone)
        elif each.format.name == Security.name:
            after = security_row(made.after, update)
        else:
            continue
        if after.raw != each.document.raw:
            by_path[made.path] = Change(made.before, after, moved)
    return list(by_path.values())


def _older(plain: list[Surveyed], after: dict[str, Document], target: Target) -> set[tuple[str, int]]:
    """Where pins stay because they are for older Pythons: path and line, as the files will be."""
    found = set()
    for each in plain:
        if any(for_older(pin, target) for pin in each.pins):
            document = after.get(each.document.path, each.document)
            pins = find(document, each.format)
            found |= {(document.path, document.line(pin.start)) for pin in pins if for_older(pin, target)}
    return found


def _manifests(plain: list[Surveyed], changes: list[Change]) -> dict[str, Surveyed]:
    """The files that package managers read, as they will be, by path."""
    after = {each.path: each.after for each in changes}
    manifests = {}
    for each in plain:
        path = each.document.path
        if path.rpartition("/")[2] in ("pyproject.toml", "Pipfile"):
            document = after.get(path, each.document)
            manifests[path] = Surveyed(document, each.format, tuple(find(document, each.format)))
    return manifests


def _frozen(plain: list[Surveyed], update: Update | None) -> str:
    """What the tracking file says of a freeze, unless it ends with this very change."""
    if update is not None and update.freeze is not None:
        return ""
    for each in plain:
        if each.format.name == ReleaseConfig.name and (reason := read(each.document).freeze):
            return f"{each.document.path} is frozen: {reason}"
    return ""


def _tracked_image(plain: list[Surveyed]) -> str:
    """The image the tracking file names now, or nothing."""
    return next((read(each.document).container_image for each in plain if each.format.name == ReleaseConfig.name), "")


def _with_digest(plain: list[Surveyed], target: Target, update: Update | None) -> Target:
    """A digest given with the tracked image is that image's new digest wherever it is pinned by one."""
    name, _, digest = (update.container_image or "" if update else "").partition("@")
    before = name_of(_tracked_image(plain)) if digest else ""
    return replace(target, digests={before: digest, name_of(name): digest, **target.digests}) if before else target


def _reach(each: Surveyed) -> int:
    """How far from its name a version may stand: YAML and Terraform say in other lines whose tag it is."""
    if PurePosixPath(each.document.path).suffix not in (".yml", ".yaml", ".tf", ".tfvars", ".hcl", ".tofu"):
        return 0
    return _SECTION


def _groups(docs: bool) -> tuple[Group, ...]:
    return (Group.PINS, Group.DOCS) if docs else (Group.PINS,)
