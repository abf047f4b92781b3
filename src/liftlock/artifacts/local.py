"""Artifacts in a local directory: hashed in parallel, cloned where the file system can, never followed out of the root.

A live file is never hard-linked: MLflow writes artifacts once, but nothing stops a client from overwriting one in
place, and a link would carry that change into the backup.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, TypeVar

from liftlock.artifacts.interface import ArtifactFile, Skip
from liftlock.effects import side_effect
from liftlock.errors import ArtifactError
from liftlock.files import PRIVATE_DIR, PRIVATE_FILE, sha256, sync_directory
from liftlock.model.progress import Observer, Progress, silent

# linux/fs.h: _IOW(0x94, 9, int); Btrfs, XFS and a few others share the blocks until one side is written.
_FICLONE = 0x40049409
_CHUNK = 1 << 20
_REPORT_EVERY = 256
_THREADS = min(8, 2 * (os.cpu_count() or 1))

T = TypeVar("T")
R = TypeVar("R")


class _Moved(Exception):
    """A file vanished or changed between two looks at it."""


class LocalArtifacts:
    """One directory of artifacts. Symbolic links count as the file they lead to, if that lies inside the root."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def inventory(
        self, *, known: Iterable[ArtifactFile] = (), on_skip: Skip | None = None, observer: Observer = silent
    ) -> tuple[ArtifactFile, ...]:
        """All regular files, sorted by path; a file with the size and time of its `known` entry is not read again.

        Left out and told to `on_skip` (or raised as ArtifactError without it): files that vanish or change while
        they are read, links that lead nowhere, out of the root or to a directory, sockets, pipes and devices, names
        that are not UTF-8, and a root that does not exist. A file that may not be read always raises.
        """
        skip = on_skip or _refuse
        remembered = {file.path: file for file in known}
        paths = list(self._walk(skip))

        def look(path: str) -> ArtifactFile | str:
            try:
                return self._look(path, remembered.get(path))
            except _Moved as moved:
                return str(moved)

        found: list[ArtifactFile] = []
        for path, result in zip(paths, _parallel(look, paths, "hashing artifacts", observer), strict=True):
            if isinstance(result, ArtifactFile):
                found.append(result)
            else:
                skip(path, result)
        return tuple(sorted(found, key=lambda file: file.path))

    def copy(
        self, files: Iterable[ArtifactFile], target: Path, *, on_skip: Skip | None = None, observer: Observer = silent
    ) -> int:
        """Copy files below `target`, owner-only, with their times, each proven equal to its entry.

        A clone is proven by the source's size and time before and after, a copy by its SHA-256. Files that are no
        longer what the entry says are left out and told to `on_skip`. Returns the bytes written (clones cost none).
        The caller flushes the target's file system.
        """
        skip = on_skip or _refuse
        wanted = list(files)

        def one(file: ArtifactFile) -> int | str:
            destination = target / _safe(file.path)
            try:
                return self._copy(file, destination)
            except _Moved as moved:
                destination.unlink(missing_ok=True)
                return str(moved)

        written = 0
        for file, result in zip(wanted, _parallel(one, wanted, "copying artifacts", observer), strict=True):
            if isinstance(result, int):
                written += result
            else:
                skip(file.path, result)
        return written

    def verify(self, files: Iterable[ArtifactFile], *, observer: Observer = silent) -> tuple[str, ...]:
        """What is missing or different from the inventory, one line each; extra files are nobody's business."""
        wanted = list(files)
        results = _parallel(lambda file: _compare(self.root / _safe(file.path), file), wanted, "checking", observer)
        return tuple(line for line in results if line)

    def restore(self, files: Iterable[ArtifactFile], source: Path, *, observer: Observer = silent) -> int:
        """Put missing or different files back from `source` (laid out as `copy` does); extra files stay.

        New files belong to the owner of the root and get its read and write bits; a replaced file keeps its own.
        Each is replaced atomically and durably, so a repeated call finishes the work. Returns the bytes written.
        """
        wanted = list(files)
        with _os_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        base = self.root.resolve()

        def one(file: ArtifactFile) -> int:
            destination = self.root / _safe(file.path)
            if not destination.resolve().is_relative_to(base):
                raise ArtifactError(
                    f"{destination} leads out of {self.root}", hint="Remove the symbolic link, then restore again."
                )
            if not _compare(destination, file):
                return 0
            with side_effect("restore artifact"):
                _put_back(file, source / file.path, destination, base)
            return file.bytes

        return sum(_parallel(one, wanted, "restoring artifacts", observer))

    def _walk(self, skip: Skip) -> Iterator[str]:
        if not self.root.is_dir():
            skip(".", f"{self.root} is not a directory")
            return
        base = self.root.resolve()
        pending = [base]
        while pending:
            directory = pending.pop()
            try:
                entries = list(os.scandir(directory))
            except FileNotFoundError:
                continue  # removed while we walked; its files are gone with it
            except OSError as error:
                raise ArtifactError(f"{directory} cannot be read: {error.strerror}") from error
            for entry in entries:
                path = Path(entry.path).relative_to(base).as_posix()
                if reason := _unfit(entry, base):
                    skip(path.encode("utf-8", "replace").decode(), reason)
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(Path(entry.path))
                else:
                    yield path

    def _look(self, path: str, known: ArtifactFile | None) -> ArtifactFile:
        with _opened(self.root / path) as file:
            before = os.fstat(file.fileno())
            if known and (known.bytes, known.mtime_ns) == (before.st_size, before.st_mtime_ns):
                return known
            digest = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
            _unchanged(before, os.fstat(file.fileno()))
        return ArtifactFile(
            path=path, bytes=before.st_size, sha256=digest.hexdigest(), mtime_ns=before.st_mtime_ns
        )  # fmt: skip

    def _copy(self, file: ArtifactFile, destination: Path) -> int:
        with _os_errors(destination):
            destination.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_DIR)
        with _opened(self.root / file.path) as source:
            before = os.fstat(source.fileno())
            if (before.st_size, before.st_mtime_ns) != (file.bytes, file.mtime_ns):
                raise _Moved("changed while it was read")
            with _os_errors(destination):
                written = _clone_or_copy(source, destination, file.sha256)
            _unchanged(before, os.fstat(source.fileno()))
        with _os_errors(destination):
            os.utime(destination, ns=(file.mtime_ns, file.mtime_ns))
        return written


def _clone_or_copy(source: BinaryIO, destination: Path, expected: str) -> int:
    handle = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(handle, "wb", buffering=0) as file:
        try:
            fcntl.ioctl(file.fileno(), _FICLONE, source.fileno())
            return 0
        except OSError:
            pass  # other file system, or one that cannot share blocks: copy the bytes
        digest = hashlib.sha256()
        written = 0
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                count = file.write(view)
                view = view[count:]
                written += count
    if digest.hexdigest() != expected:
        raise _Moved("changed while it was read")
    return written


def _put_back(file: ArtifactFile, source: Path, destination: Path, root: Path) -> None:
    with _os_errors(destination):
        _directories(destination.parent, root)
        model = destination.stat() if destination.is_file() else None
        # Named after the path, not the content: two equal files of one directory are restored at the same time.
        temporary = destination.with_name(f".{hashlib.sha256(file.path.encode()).hexdigest()[:16]}.liftlock.part")
        temporary.unlink(missing_ok=True)
        try:
            with source.open("rb") as content:
                _clone_or_copy(content, temporary, file.sha256)
            owner = model or root.stat()
            _give(temporary, owner, (model.st_mode if model else owner.st_mode) & 0o666)
            os.utime(temporary, ns=(file.mtime_ns, file.mtime_ns))
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(destination)
        except _Moved:
            raise ArtifactError(f"{source} is damaged: its content does not match the inventory") from None
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(destination.parent)


def _directories(path: Path, root: Path) -> None:
    """Make missing directories with the owner and rights of the root."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    like = root.stat()
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        _give(directory, like, like.st_mode & 0o777)


def _give(path: Path, like: os.stat_result, mode: int) -> None:
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, like.st_uid, like.st_gid)


def _compare(path: Path, file: ArtifactFile) -> str:
    """One line on how the file differs from its entry; empty when it does not."""
    try:
        if not path.is_file():
            return f"{file.path}: missing"
        if (size := path.stat().st_size) != file.bytes:
            return f"{file.path}: {size} bytes instead of {file.bytes}"
        return "" if sha256(path) == file.sha256 else f"{file.path}: content differs"
    except FileNotFoundError:
        return f"{file.path}: missing"
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _unfit(entry: os.DirEntry[str], base: Path) -> str:
    """Why an entry cannot be taken along; empty when it can."""
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    try:
        if entry.is_symlink():
            target = Path(entry.path).resolve(strict=True)
            if not target.is_relative_to(base):
                return "a link that leads out of the artifact root"
            if target.is_dir():
                return "a link to a directory (which is taken under its own name)"
        mode = entry.stat().st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if entry.is_symlink() else "vanished while it was read"
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, on Python before 3.13
        return "a link that cannot be followed"
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "not a regular file"


def _unchanged(before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise _Moved("changed while it was read")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise _Moved("vanished while it was read") from None
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read: {error.strerror}") from error


def _safe(path: str) -> str:
    """The path, if it stays below the directory it is joined to."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise ArtifactError(f"{path!r} is not a path inside an artifact root")
    return path


def _refuse(path: str, reason: str) -> None:
    raise ArtifactError(f"artifact {path}: {reason}")


@contextmanager
def _os_errors(path: Path) -> Iterator[None]:
    """Turn an OSError into an ArtifactError that names the file and keeps the cause."""
    try:
        yield
    except OSError as error:
        raise ArtifactError(f"{path} cannot be written: {error.strerror or error}") from error


def _parallel(work: Callable[[T], R], items: list[T], name: str, observer: Observer) -> Iterator[R]:
    """Apply `work` to all items on a few threads (hashing and copying release the interpreter), in order."""
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for count, result in enumerate(pool.map(work, items), 1):
                yield result
                if count % _REPORT_EVERY == 0 or count == len(items):
                    observer(Progress(work=name, done=count, total=len(items), unit="files"))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
