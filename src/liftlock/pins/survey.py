"""Look at a tree: which files hold pins, and which are in no state to be changed."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from liftlock.pins.document import Document, conflict_line
from liftlock.pins.formats import FORMATS
from liftlock.pins.formats.interface import Format, Group
from liftlock.pins.formats.requirements import Requirements, references
from liftlock.pins.model import BadFile, CannotParse, Pin
from liftlock.pins.tree import Tree
from liftlock.pins.writing import is_exact, named

_HEAD = 4096


@dataclass(frozen=True)
class Surveyed:
    """One file that holds pins."""

    document: Document
    format: Format
    pins: tuple[Pin, ...]


@dataclass(frozen=True)
class Survey:
    """The files with pins, and every other text of the tree that mentions MLflow (for leftovers)."""

    files: tuple[Surveyed, ...]
    mentions: tuple[Document, ...]
    paths: tuple[str, ...]

    def group(self, *groups: Group) -> tuple[Surveyed, ...]:
        """The files of some groups."""
        return tuple(each for each in self.files if each.format.group in groups)


def survey(tree: Tree) -> Survey:
    """Read the tree. Raises BadFile for the first file that mentions MLflow, is of a known format and is damaged,
    contradicts itself, or is a link out of the tree.
    """
    paths = tree.paths()
    mentions: dict[str, Document] = {}
    links: dict[str, Document] = {}
    for path in paths:
        raw = tree.read(path)
        if raw is None or not _mentions(path, raw) or (document := Document.decode(path, raw)) is None:
            continue
        target = tree.link(path)
        if target is None:
            mentions[path] = document
        elif not tree.inside(target):
            links[path] = document
    named_by_others = _chain(mentions.values())
    files = []
    for document in mentions.values():
        form = _format(document, named_by_others)
        if form is not None and (pins := _find(document, form)):
            files.append(Surveyed(document, form, tuple(pins)))
    for document in links.values():
        form = _format(document, named_by_others)
        if form is not None and form.group is not Group.DOCS and _find(document, form):
            raise BadFile(
                document.path, 1, "a symbolic link to a file outside the tree names MLflow's version",
                hint="Pin where the file really lies, or replace the link by a copy.",
            )  # fmt: skip
    _contradictions(files)
    return Survey(tuple(files), tuple(mentions.values()), tuple(paths))


def find(document: Document, form: Format) -> list[Pin]:
    """The pins of one document. Raises BadFile when it cannot be read as its format."""
    try:
        return form.find(document.text)
    except CannotParse as error:
        raise BadFile(document.path, error.line, error.reason, hint="Mend the file; nothing was changed.") from None


def _find(document: Document, form: Format) -> list[Pin]:
    if form.group is not Group.DOCS and (line := conflict_line(document.text)):
        raise BadFile(document.path, line, "an unfinished merge", hint="Finish the merge; nothing was changed.")
    return find(document, form)


def _mentions(path: str, raw: bytes) -> bool:
    """Whether MLflow is named in a file or on the way to it (`config/mlflow_release.yaml`, `charts/mlflow/`)."""
    if "mlflow" in path.lower():
        return True
    lower = raw.lower()
    return b"mlflow" in lower or b"m\0l\0f\0l\0o\0w" in lower


def _format(document: Document, requirements: set[str]) -> Format | None:
    if document.path in requirements:
        return Requirements()
    path, head = PurePosixPath(document.path), document.text[:_HEAD]
    return next((form for form in FORMATS if form.recognises(path, head)), None)


def _chain(documents: Iterable[Document]) -> set[str]:
    """Files that `-r` and `-c` lines name, however they are called."""
    by_path = {document.path: document for document in documents}
    form = Requirements()
    known = {path for path, each in by_path.items() if form.recognises(PurePosixPath(path), each.text[:_HEAD])}
    todo = list(known)
    while todo:
        for reached in _reached(by_path[todo.pop()]):
            if reached in by_path and reached not in known:
                known.add(reached)
                todo.append(reached)
    return known


def _reached(document: Document) -> list[str]:
    folder = posixpath.dirname(document.path)
    return [posixpath.normpath(posixpath.join(folder, each.path)) for each in references(document.text)]


def _contradictions(files: list[Surveyed]) -> None:
    """Raise BadFile when one installer would read two different exact versions together."""
    by_path = {each.document.path: each for each in files}
    for each in files:
        if each.format.group is not Group.PINS:
            continue
        together = [each]
        if isinstance(each.format, Requirements):
            together += _closure(each, by_path)
        seen: dict[tuple[str, str], tuple[str, str]] = {}
        for other in together:
            for pin in other.pins:
                if not pin.scope or not is_exact(pin):
                    continue
                place = f"{other.document.path}:{other.document.line(pin.start)}"
                version = named(pin) or ""
                earlier, where = seen.setdefault((pin.package, pin.scope), (version, place))
                if earlier != version:
                    raise BadFile(
                        other.document.path, other.document.line(pin.start),
                        f"{pin.package} is pinned to {version} here and to {earlier} at {where}",
                        hint="Keep the one that is meant; nothing was changed.",
                    )  # fmt: skip


def _closure(start: Surveyed, by_path: dict[str, Surveyed]) -> list[Surveyed]:
    found: dict[str, Surveyed] = {}
    todo = [start]
    while todo:
        for path in _reached(todo.pop().document):
            other = by_path.get(path)
            if other is not None and path not in found and other is not start:
                found[path] = other
                todo.append(other)
    return list(found.values())
