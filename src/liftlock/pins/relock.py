"""Lock files and compiled requirements, rewritten by the tool that made them, in a copy of the tree.

Only the tools listed here are run, never a shell, and never a command line of the tree's own making: of the command
in a compiled file's header the options are kept, and its output is forced to the copy of that very file.
"""

from __future__ import annotations

import posixpath
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liftlock import files, proc
from liftlock.errors import CommandFailed, Refused
from liftlock.pins.change import Change, at_target
from liftlock.pins.document import Document, Edit
from liftlock.pins.formats.interface import Group
from liftlock.pins.formats.requirements import references
from liftlock.pins.lock_tools import HEADER, Job
from liftlock.pins.model import Target
from liftlock.pins.survey import Surveyed, find
from liftlock.pins.tree import Tree

_LONGEST = 900.0
# Environments that these tools make on the way belong into the copy, not into the user's cache.
_INSIDE = {
    "POETRY_VIRTUALENVS_IN_PROJECT": "true", "PIPENV_VENV_IN_PROJECT": "1", "PIPENV_IGNORE_VIRTUALENVS": "1",
    "PDM_CHECK_UPDATE": "false",
}  # fmt: skip


@dataclass(frozen=True)
class Stale:
    """A lock that still holds another version, and why it was not rewritten."""

    path: str
    line: int
    version: str
    reason: str


@dataclass(frozen=True)
class Tools:
    """What children get: `environment` for all, and `index` (variables that name the user's package index) besides
    for those whose output does not record where packages came from.
    """

    environment: Mapping[str, str]
    index: Mapping[str, str]


def relock(
    tree: Tree, paths: Sequence[str], changes: Sequence[Change], jobs: Sequence[Job], target: Target, tools: Tools
) -> tuple[list[Change], list[Stale]]:
    """Run the jobs on a copy of the tree with the changes applied. Raises Refused when a tool fails, in its words."""
    if not jobs:
        return [], []
    with tempfile.TemporaryDirectory(prefix="liftlock-pin-") as scratch:
        copy = Path(scratch, "tree")
        _copy(tree, paths, copy)
        for each in changes:
            files.write_atomic(copy / each.path, each.after.raw)
        changed: list[Change] = []
        stale: list[Stale] = []
        for each_job in _in_order(tree, jobs):
            document = each_job.lock.document
            _run(each_job, copy, target, tools)
            after = Document.decode(document.path, (copy / document.path).read_bytes())
            after = after and _same_header(document, after)
            pins = find(after, each_job.lock.format) if after else []
            if after is None or not pins or not at_target(after, pins, target):
                held = ", ".join(sorted({pin.text for pin in pins})) or "nothing"
                reason = f"{each_job.tool} chose {held} rather than {target.version}"
                stale.append(stale_lock(each_job.lock, reason))
            elif after.raw != document.raw:
                changed.append(Change(document, after))
        return changed, stale


def stale_lock(each: Surveyed, reason: str) -> Stale:
    """The report of a lock that stays as it is."""
    pin = each.pins[0]
    return Stale(each.document.path, each.document.line(pin.start), pin.text, reason)


def _in_order(tree: Tree, jobs: Sequence[Job]) -> list[Job]:
    """The jobs so that what one reads is written before it: `-c base.txt` in the input of another, an export's lock."""
    by_path = {each.lock.document.path: each for each in jobs}
    done: dict[str, Job] = {}

    def do(path: str, above: frozenset[str]) -> None:
        if path in done or path in above:
            return
        for other in sorted(_read_by(tree, by_path[path].reads) & by_path.keys()):
            do(other, above | {path})
        done[path] = by_path[path]

    for path in by_path:
        do(path, frozenset())
    return list(done.values())


def _read_by(tree: Tree, paths: Sequence[str]) -> set[str]:
    """The files, and those that their `-r` and `-c` lines name, and so on."""
    found: set[str] = set()
    todo = list(paths)
    while todo:
        path = todo.pop()
        if path in found:
            continue
        found.add(path)
        document = Document.decode(path, tree.read(path) or b"") if path.endswith((".in", ".txt")) else None
        folder = posixpath.dirname(path)
        named = references(document.text) if document is not None else []
        todo += [posixpath.normpath(posixpath.join(folder, each.path)) for each in named]
    return found


def _run(each: Job, copy: Path, target: Target, tools: Tools) -> None:
    records_sources = each.lock.format.group is Group.LOCK
    environment = {**tools.environment, **_INSIDE, **({} if records_sources else tools.index)}
    if each.tool == "uv":
        environment["UV_CUSTOM_COMPILE_COMMAND"] = _header(each.lock.document)
    for command in each.commands:
        if each.manifest is not None:
            real, exactly = each.manifest
            files.write_atomic(copy / real.path, (exactly if command.exact else real).raw)
        try:
            proc.run(command.argv, timeout=_LONGEST, env=environment, cwd=copy / each.folder, what=each.tool)
        except CommandFailed as error:
            raise Refused(
                f"{each.lock.document.path}:1: {each.tool} could not lock MLflow {target.version}: "
                f"{explained(error.output)}",
                hint="Nothing was changed. Loosen what contradicts it, or give --no-relock to report the lock as "
                "stale.",
            ) from error
    if each.manifest is not None:
        files.write_atomic(copy / each.manifest[0].path, each.manifest[0].raw)


def explained(output: str) -> str:
    """A resolver's reason on one line, without the frame around it."""
    lines = [line.strip(" ×╰─▶│├·\t") for line in output.splitlines()]  # noqa: RUF001 - the marks uv draws
    flat = " ".join(line for line in lines if line)
    place = flat.find("Because ")
    return (flat[place:] if place >= 0 else flat)[:900] or "it printed nothing"


def _header(document: Document) -> str:
    found = HEADER.search(document.text[:8192])
    return found["command"].strip() if found else ""


def _same_header(before: Document, after: Document) -> Document:
    """The new file with the command that the old one names: `uv export` writes down our own words."""
    old, new = HEADER.search(before.text[:8192]), HEADER.search(after.text[:8192])
    return after.edited([Edit(*new.span("command"), old["command"])]) if old and new else after


def _copy(tree: Tree, paths: Sequence[str], copy: Path) -> None:
    """The listed files, links as links: a tool may read sources, READMEs and other projects of the workspace."""
    for path in paths:
        source, target = tree.root / path, copy / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() or source.is_file():
            shutil.copy2(source, target, follow_symlinks=False)
