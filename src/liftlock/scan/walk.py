"""The files of a tree, without what Git ignores, what others wrote, links that lead round, and files too large."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LARGEST = 16 << 20
_FOREIGN = frozenset({
    ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".terraform", ".liftlock", "site-packages", ".eggs", ".ipynb_checkpoints", ".hypothesis",
})  # fmt: skip
_CONFIGURES = (b"route_type: llm/v1/", b'route_type: "llm/v1/')  # YAML of the gateway, which need not name MLflow
_MENTIONS = (b"mlflow", b"MLflow", b"MLFLOW", b"MLFlow", b"Mlflow")


def base_of(roots: Sequence[Path]) -> Path:
    """The directory that the paths of findings are relative to: the root; for several the current one, if they are in
    it, or else what they have in common.
    """
    folders = [root if root.is_dir() else root.parent for root in roots]
    if len(folders) == 1:
        return folders[0]
    here = Path.cwd()
    absolute = [each.resolve() for each in folders]
    return here if all(each.is_relative_to(here) for each in absolute) else Path(os.path.commonpath(absolute))


@dataclass(frozen=True)
class _Rule:
    """One line of a .gitignore."""

    pattern: re.Pattern[str]
    negated: bool
    directory: bool


@dataclass
class Walk:
    """Walks roots. `skipped` fills with what was not read, and why; `files` counts everything looked at."""

    skipped: dict[str, str] = field(default_factory=dict)
    files: int = 0
    members: tuple[bytes, ...] = ()  # names that make a Python file worth a look although it does not name MLflow

    def paths(self, root: Path) -> Iterator[str]:
        """Files below a directory (or the file itself), as paths to open, in order."""
        if not root.is_dir():
            yield str(root)
            return
        yield from self._folder(str(root), "", _above(root.resolve()))

    def _folder(self, folder: str, inside: str, rules: list[tuple[str, list[_Rule]]]) -> Iterator[str]:
        """Symbolic links are not followed: what they lead to is found where it is, or is not of this tree."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.skipped[folder] = error.strerror or "cannot be read"
            return
        names = {entry.name for entry in entries}
        if "pyvenv.cfg" in names and inside:
            return
        if ".gitignore" in names:
            rules = [*rules, (inside, _read_rules(Path(folder, ".gitignore")))]
        for entry in entries:
            name, path = entry.name, f"{inside}{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    if name not in _FOREIGN and not _ignored(path, True, rules):
                        yield from self._folder(entry.path, f"{path}/", rules)
                elif entry.is_file(follow_symlinks=False) and (
                    name.startswith(".env") or not _ignored(path, False, rules)
                ):
                    yield entry.path
            except OSError as error:
                self.skipped[entry.path] = error.strerror or "cannot be read"

    def read(self, path: str) -> bytes | None:
        """A file's bytes when it mentions MLflow at all; None for any other, for a device and for one too large."""
        self.files += 1
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            self.skipped[path] = error.strerror or "cannot be read"
            return None
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return None
            if status.st_size > LARGEST:
                self.skipped[path] = f"larger than {LARGEST >> 20} MiB"
                return None
            data = file.readall()
        words = (*_MENTIONS, *self.members) if path.endswith(".py") else _MENTIONS
        if path.endswith((".yaml", ".yml")):
            words = (*_MENTIONS, *_CONFIGURES)
        return data if any(word in data for word in words) else None


def mentions(data: bytes) -> bool:
    """Whether a file's bytes name MLflow."""
    return any(word in data for word in (*_MENTIONS, *_CONFIGURES))


def _above(root: Path) -> list[tuple[str, list[_Rule]]]:
    """The rules of the directories above the root, up to its repository; NUL marks how a path continues there."""
    found: list[tuple[str, list[_Rule]]] = []
    place = root
    while not (place / ".git").exists():
        if place == place.parent:
            return []
        place = place.parent
        if (place / ".gitignore").is_file():
            found.append((f"\0{root.relative_to(place).as_posix()}/", _read_rules(place / ".gitignore")))
    return found[::-1]


def _read_rules(path: Path) -> list[_Rule]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [rule for line in lines if (rule := _rule(line)) is not None]


def _rule(line: str) -> _Rule | None:
    text = line.rstrip()
    if not text or text.startswith("#"):
        return None
    negated = text.startswith("!")
    text = text[1:] if negated else text
    directory = text.endswith("/")
    text = text.rstrip("/")
    anchored = "/" in text
    text = text.lstrip("/")
    pattern = ""
    place = 0
    while place < len(text):
        if text.startswith("**/", place):
            pattern, place = pattern + "(?:.*/)?", place + 3
        elif text.startswith("**", place):
            pattern, place = pattern + ".*", place + 2
        elif text[place] == "*":
            pattern, place = pattern + "[^/]*", place + 1
        elif text[place] == "?":
            pattern, place = pattern + "[^/]", place + 1
        elif text[place] == "[" and "]" in text[place + 2 :]:
            end = text.index("]", place + 2)
            inner = text[place + 1 : end].replace("\\", "\\\\")
            pattern += f"[{'^' + inner[1:] if inner.startswith('!') else inner}]"
            place = end + 1
        else:
            if text[place] == "\\" and place + 1 < len(text):
                place += 1
            pattern, place = pattern + re.escape(text[place]), place + 1
    try:
        return _Rule(re.compile(pattern if anchored else f"(?:.*/)?{pattern}"), negated, directory)
    except re.error:
        return None


def _ignored(path: str, directory: bool, rules: list[tuple[str, list[_Rule]]]) -> bool:
    ignored = False
    for base, own in rules:
        inner = base[1:] + path if base.startswith("\0") else path[len(base) :]
        for rule in own:
            if (directory or not rule.directory) and rule.negated == ignored and rule.pattern.fullmatch(inner):
                ignored = not rule.negated
    return ignored
