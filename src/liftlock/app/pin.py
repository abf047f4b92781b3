"""`pin`: change MLflow's version in every file of a repository, all or nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from liftlock.app.catalogue import current
from liftlock.errors import ReleaseError
from liftlock.knowledge.constraints import constraints
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.pins import registry
from liftlock.pins.document import Document
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import PACKAGES, BadFile, Syntax, Target
from liftlock.pins.proposal import Proposal, hashed, packages, propose
from liftlock.pins.registry import Reference
from liftlock.pins.relock import Tools
from liftlock.pins.supporting import Support, supports
from liftlock.pins.survey import Survey, survey
from liftlock.pins.tracking import Update
from liftlock.pins.transaction import Record, Transactions
from liftlock.pins.tree import Tree
from liftlock.pins.writing import rewritten
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environments, default_cache
from liftlock.releases.index import Index
from liftlock.releases.lock import compile_lock, pins
from liftlock.releases.pythons import find_python
from liftlock.releases.sources import find_sources
from liftlock.releases.uv import IndexUnreachable


@dataclass(frozen=True)
class Options:
    """What the user may choose.

    `docs`: change documentation too. `offline`: ask no package index, so the version's existence is not checked and
    hashes cannot be made. `past`: versions that nothing may name any more. `relock`: have lock files rewritten by
    their tools. `plain`: the directory need not be a repository. `digests` and `drop_digests` as in Target.
    `tracking`: what to write into the tracking file. `registry`: ask the registries of images for the new tags, and
    take the digests of those that are pinned by one from there.
    """

    docs: bool = False
    offline: bool = False
    relock: bool = True
    plain: bool = False
    digests: Mapping[str, str] = field(default_factory=dict)
    drop_digests: bool = False
    past: tuple[str, ...] = ()
    tracking: Update | None = None
    registry: bool = False


@dataclass(frozen=True)
class Proposed:
    """A proposal with the tree it was made for; `recovered` is an interrupted change that was taken back before."""

    tree: Tree
    proposal: Proposal
    recovered: Record | None


def prepare(path: Path, release: Release, options: Options, observer: Observer = silent) -> Proposed:
    """Recover what an earlier call left, read the tree, and work out the change.

    Raises Refused (BadFile with file and line), ReleaseError when the version does not exist, IndexUnreachable.
    """
    tree = Tree.open(path, plain=options.plain)
    recovered = Transactions(tree.top, tree.state).recover()
    observer(Progress(work="read the repository"))
    found = survey(tree)
    hashes: Mapping[str, tuple[str, ...]] = {}
    if not options.offline:
        observer(Progress(work=f"ask the package index for MLflow {release}"))
        hashes = _exists(release, found, options)
    target = Target(
        release.key, digests=options.digests, drop_digests=options.drop_digests, hashes=hashes, python=_pythons(release)
    )
    if options.registry:
        target = replace(target, digests={**_images(found, target, options, observer), **options.digests})
    observer(Progress(work="work out the change"))
    tools = _tools() if options.relock and not options.offline else None
    proposal = propose(
        tree, found, target, docs=options.docs, tools=tools, past=options.past, tracking=options.tracking
    )
    return Proposed(tree, proposal, recovered)


def apply(proposed: Proposed) -> None:
    """Bring the change into the tree, all or nothing. Raises Refused, or PutBack when a write failed midway."""
    contents = proposed.proposal.contents(proposed.tree)
    if contents:
        title = f"pin MLflow {proposed.proposal.target.version}"
        Transactions(proposed.tree.top, proposed.tree.state).commit(title, contents)


def support(proposed: Proposed, release: Release, observer: Observer = silent, *, build: bool = False) -> list[Support]:
    """Resolve what every requirements file and pyproject with MLflow in it asks for, with the index's real packages.

    With `build`, what resolves is also installed into an environment of liftlock's cache and imported. Raises
    IndexUnreachable; ReleaseError when a build fails.
    """
    tree = proposed.tree
    documents = {each.path: each for each in proposed.proposal.documents}
    paths = list(documents)
    # files that never mention MLflow may be named by -r and -c
    for path in tree.paths():
        if path not in documents and path.endswith((".txt", ".in")):
            document = Document.decode(path, tree.read(path) or b"")
            documents |= {path: document} if document is not None else {}
    python = find_python(release).path

    def resolve(requirements: Sequence[str], bounds: Sequence[str]) -> Mapping[str, str]:
        observer(Progress(work=f"resolve {len(requirements)} requirements"))
        return pins(compile_lock(requirements, python, release, bounds=[*bounds, *constraints(release)]))

    found = supports(documents, paths, resolve)
    if build:
        for each in found:
            if not each.conflict:
                observer(Progress(work=f"build what {each.path} asks for"))
                Environments().build(release, requirements=each.requirements, start=False, observer=observer)
    return found


def undo(path: Path, *, plain: bool = False) -> Record:
    """Take back the last change of this tree. Raises Refused when there is none or a file was edited since."""
    tree = Tree.open(path, plain=plain)
    return Transactions(tree.top, tree.state).undo()


def _exists(release: Release, found: Survey, options: Options) -> dict[str, tuple[str, ...]]:
    """Prove that every distribution named in the tree exists in this version; the hashes of those that need them."""
    Index(default_cache()).require(release)
    needed = hashed(found)
    hashes = {}
    for package in packages(found, docs=options.docs):
        if package == "mlflow" and package not in needed:
            continue
        try:
            lock = compile_lock([f"{package}=={release}"], Path(sys.executable), release, dependencies=False)
        except IndexUnreachable:
            raise
        except ReleaseError as error:
            path, line = _first(found, package)
            raise BadFile(
                path,
                line,
                f"there is no {package} {release}",
                hint="Not every distribution of MLflow exists in every version; change this place by hand first.",
            ) from error
        hashes[package] = tuple(word.removeprefix("--hash=") for word in lock.split() if word.startswith("--hash="))
    return hashes


def _pythons(release: Release) -> str:
    """What Pythons it runs on by the catalogue; empty for a release that it does not know."""
    try:
        catalogue = current()[0]
        return catalogue.python(catalogue.require(release))
    except ReleaseError:
        return ""


def _images(found: Survey, target: Target, options: Options, observer: Observer) -> dict[str, str]:
    """Prove that the new images exist, of those that name their registry; the new digest by image name.

    Raises BadFile with the place of an image that its registry does not have, RegistryUnknown.
    """
    wanted: dict[Reference, tuple[str, str, int]] = {}
    for each in found.group(Group.PINS):
        for pin in each.pins:
            if pin.what != "image" or pin.syntax is not Syntax.VERSION:
                continue
            reference = Reference.parse(f"{pin.package}:{rewritten(pin, target)}")
            if reference is not None:
                wanted.setdefault(reference, (pin.package, each.document.path, each.document.line(pin.start)))
    image = options.tracking.container_image if options.tracking else None
    if image and (tracked := Reference.parse(image)) is not None:
        wanted.setdefault(tracked, (image.partition("@")[0].rpartition(":")[0], "--image-tag", 1))
    digests: dict[str, set[str]] = {}
    for reference, (name, path, line) in wanted.items():
        observer(Progress(work=f"ask {reference.host} for {reference.name}:{reference.tag}"))
        digest = registry.digest(reference)
        if digest is None:
            raise BadFile(
                path, line, f"{reference.host} has no {reference.name}:{reference.tag}",
                hint="It may not be published yet; build and push it first, or name another with --image-tag.",
            )  # fmt: skip
        digests.setdefault(name, set()).add(digest)
    # two tags of one image have two digests, and which belongs where is for a person to say
    return {name: one.pop() for name, one in digests.items() if len(one) == 1}


def _first(found: Survey, package: str) -> tuple[str, int]:
    assert package in PACKAGES
    return next(
        (each.document.path, each.document.line(pin.start))
        for each in found.files
        for pin in each.pins
        if pin.package == package
    )


def _tools() -> Tools:
    sources = find_sources()
    return Tools(environment=clean_environment(), index={**sources.for_uv(), **sources.for_pip()})
