"""Which files of a repository are looked at."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from liftlock import proc
from liftlock.errors import CommandFailed, Refused, UsageError

# Runs and models MLflow recorded say with which release they were made: history, never a pin.
_RECORDED = frozenset({"mlruns", "mlartifacts"})
_FOREIGN = frozenset({
    ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".terraform", ".liftlock", "site-packages", ".eggs",
})  # fmt: skip
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Tree:
    """What is looked at, and the directory in which liftlock keeps what a change needs.

    `root` may be a folder of a repository; `top` is the repository's, which recovery and undo are about. In a Git
    repository the state lies in Git's own directory, where it can never be committed.
    """

    root: Path
    top: Path
    state: Path
    is_git: bool

    @classmethod
    def open(cls, path: Path, *, plain: bool = False) -> Tree:
        """The tree at `path`. Raises Refused when it is no Git repository and `plain` does not allow that."""
        if not path.is_dir():
            raise UsageError(f"{path} is not a directory")
        root = path.resolve()
        if (found := _git_directory(root)) is not None:
            top, git = found
            return cls(root, top, git / "liftlock-pin", True)
        if not plain:
            raise Refused(
                f"{path} is not a repository: neither it nor a directory above it holds .git; nothing was changed",
                hint="Name the repository, or give --plain-directory to change a directory that is none.",
            )
        return cls(root, root, root / ".liftlock" / "pin", False)

    def paths(self) -> list[str]:
        """Files below the root, relative, sorted: tracked or not ignored, `.env` files even when ignored.

        Virtual environments, caches, and the runs and models that MLflow recorded are left out.
        """
        found = sorted(set(self._listed()))
        recorded = {str(PurePosixPath(path).parent) for path in found if path.rpartition("/")[2] == "MLmodel"}
        return [path for path in found if not _left_out(path, recorded)]

    def read(self, path: str) -> bytes | None:
        """A file's bytes; None when it is gone, not a regular file, or larger than any file that holds pins."""
        try:
            descriptor = os.open(self.root / path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(file.fileno())
            return file.read() if stat.S_ISREG(status.st_mode) and status.st_size <= _LARGEST else None

    def link(self, path: str) -> Path | None:
        """Where a path really leads when it, or a directory on its way, is a symbolic link; None when none is."""
        place = self.root / path
        real = place.resolve()
        return None if real == place else real

    def inside(self, place: Path) -> bool:
        """Whether a resolved place lies in the tree."""
        return place.is_relative_to(self.root)

    def _listed(self) -> Iterator[str]:
        if not self.is_git:
            yield from self._walked()
            return
        try:
            listed = self._git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
            ignored = self._git("ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory")
        except CommandFailed as error:
            if error.status is not None:
                raise Refused(f"Git could not list the files of {self.root}: {error.message}") from error
            yield from self._walked()  # there is no git program
            return
        yield from (path for path in listed if path)
        yield from (path for path in ignored if path.rpartition("/")[2].startswith(".env"))

    def _git(self, *words: str) -> list[str]:
        # A repository owned by somebody else is only listed here, which runs nothing of its configuration.
        safe: list[str | Path] = [
            "git",
            "-c",
            "safe.directory=*",
            "-c",
            "core.fsmonitor=false",
            "-C",
            self.root,
        ]
        return proc.run([*safe, *words], timeout=120, what="git").stdout.split("\0")

    def _walked(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if name not in _FOREIGN]
            if "pyvenv.cfg" in files:
                folders.clear()
                continue
            for name in files:
                yield (Path(folder) / name).relative_to(self.root).as_posix()


def _left_out(path: str, recorded: set[str]) -> bool:
    *parts, name = PurePosixPath(path).parts
    if name == "PKG-INFO" or any(part.endswith((".egg-info", ".dist-info")) for part in parts):
        return True  # written by a build, from the files that are looked at
    if any(part in _FOREIGN or part in _RECORDED for part in parts):
        return True
    return any(str(PurePosixPath(*parts[:depth])) in recorded for depth in range(1, len(parts) + 1))


def _git_directory(root: Path) -> tuple[Path, Path] | None:
    """The work tree's top and the directory Git keeps for it; in a linked work tree `.git` is a file that names it."""
    for place in (root, *root.parents):
        git = place / ".git"
        if git.is_dir():
            return place, git
        if git.is_file():
            first = git.read_text(encoding="utf-8", errors="replace").strip()
            if first.startswith("gitdir:"):
                return place, (place / first.removeprefix("gitdir:").strip()).resolve()
    return None
