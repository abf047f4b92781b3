"""New contents of many files, brought into a tree together; a kill at any point leaves the old or the new.

Protocol, in the state directory (on whatever file system): the old and the new content of every file are written to
`prepared/` and flushed; renaming that to `current/` is the promise that the old state can be restored from now on.
Then each file is replaced by one rename, so that a reader of it sees old or new. Renaming `current/` to
`done/<number>` ends it. Whoever finds a `current/` later (the process was killed, the machine lost power) has all
files in hand: if every one is new it is done, otherwise the old ones are put back; a file that is neither, because
somebody edited it since, is left alone and a person is asked. `done/` also serves `undo`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from liftlock import clock, files
from liftlock.effects import side_effect
from liftlock.errors import NeedsPerson, PutBack, Refused
from liftlock.model.codec import Value, from_json, to_json

_KEPT = 10


class Entry(Value, frozen=True):
    """One file: its path below the root and the SHA-256 of its content before and after."""

    path: str
    old: str
    new: str


class Record(Value, frozen=True):
    """One transaction: what it was for, when, by which files. `undoes` is the number it takes back, or 0."""

    title: str
    at: datetime
    files: tuple[Entry, ...]
    undoes: int = 0


@dataclass(frozen=True)
class NewContent:
    """A file as it was read and as it should be."""

    path: str
    old: bytes
    new: bytes


class Transactions:
    """The transactions of one tree; every method holds its lock and first recovers what an earlier process left."""

    def __init__(self, root: Path, state: Path) -> None:
        self._root = root
        self._state = state
        self._current = state / "current"

    def recover(self) -> Record | None:
        """Finish or take back a transaction that was cut off; the one taken back, or None.

        Nothing is created when there is nothing to do. Raises NeedsPerson when a file was edited since.
        """
        if not self._current.is_dir() and not (self._state / "prepared").is_dir():
            return None
        with self._locked():
            return self._recover()

    def commit(self, title: str, contents: Sequence[NewContent]) -> None:
        """Bring all contents into the tree. Raises Refused (nothing changed) for a file that cannot be replaced or is
        no longer what was read, and PutBack when a write failed midway.
        """
        with self._locked():
            self._recover()
            if not contents:
                return
            self._apply(Record(title=title, at=clock.now(), files=_entries(contents)), contents)

    def last(self) -> Record | None:
        """The newest transaction that `undo` would take back."""
        numbers = self._done()
        return _read(self._place(numbers[-1])) if numbers else None

    def undo(self) -> Record:
        """Put back the files of the newest transaction; what it was. Raises Refused when one was edited since."""
        with self._locked():
            self._recover()
            numbers = self._done()
            if not numbers:
                raise Refused("there is no change to undo here; nothing was changed")
            place = self._place(numbers[-1])
            record = _read(place)
            back = [
                NewContent(entry.path, _blob(place, "new", index, entry.new), _blob(place, "old", index, entry.old))
                for index, entry in enumerate(record.files)
            ]
            title = f"undo of: {record.title}"
            self._apply(Record(title=title, at=clock.now(), files=_entries(back), undoes=numbers[-1]), back)
            return record

    def _apply(self, record: Record, contents: Sequence[NewContent]) -> None:
        for each in contents:
            self._precheck(each)
        self._prepare(record, contents)
        try:
            for each in contents:
                self._replace(each.path, each.new, expected=each.old)
        except (OSError, Refused) as error:
            self._put_back(record)
            reason = error.strerror or str(error) if isinstance(error, OSError) else error.message
            raise PutBack(f"a file could not be written, and all were put back as they were: {reason}") from error
        self._finish(record)

    def _precheck(self, each: NewContent) -> None:
        place = self._root / each.path
        if place.is_symlink() or not place.resolve().is_relative_to(self._root):
            raise Refused(f"{each.path} is a symbolic link; nothing was changed")
        try:
            present, mode = place.read_bytes(), place.stat().st_mode
        except OSError as error:
            raise Refused(f"{each.path}:1: {error.strerror or error}; nothing was changed") from error
        if present != each.old:
            raise Refused(f"{each.path}:1: it was changed by somebody else just now; nothing was changed")
        # root may write anything, but a file without a write bit says that it is not to be changed
        if not mode & 0o222 or not os.access(place, os.W_OK) or not os.access(place.parent, os.W_OK):
            raise Refused(
                f"{each.path}:1: read-only; nothing was changed", hint="Make the file and its directory writable."
            )

    def _prepare(self, record: Record, contents: Sequence[NewContent]) -> None:
        prepared = self._state / "prepared"
        with side_effect("prepare pins"):
            for index, each in enumerate(contents):
                for side, data in (("old", each.old), ("new", each.new)):
                    files.private_directory(prepared / side)
                    files.write_atomic(prepared / side / str(index), data)
            files.write_atomic(prepared / "transaction.json", to_json(record, indent=2))
            for folder in (prepared / "old", prepared / "new", prepared):
                files.sync_directory(folder)
        with side_effect("promise pins"):
            prepared.rename(self._current)
            files.sync_directory(self._state)

    def _replace(self, path: str, data: bytes, *, expected: bytes) -> None:
        place = self._root / path
        with side_effect(f"write pin {path}"):
            if place.read_bytes() != expected:
                raise Refused(f"{path} was changed by somebody else just now")
            status = place.stat()
            files.write_atomic(place, data, mode=status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(place, status.st_uid, status.st_gid)

    def _finish(self, record: Record) -> None:
        with side_effect("finish pins"):
            if record.undoes:
                files.remove_tree(self._place(record.undoes))
                self._drop_current()
            else:
                files.private_directory(self._state / "done")
                numbers = self._done()
                self._current.rename(self._place(numbers[-1] + 1 if numbers else 1))
                files.sync_directory(self._state / "done")
            files.sync_directory(self._state)
        for number in self._done()[:-_KEPT]:
            with side_effect("forget old pins"):
                files.remove_tree(self._place(number))

    def _recover(self) -> Record | None:
        files.remove_tree(self._state / "prepared")  # without the promise nothing was changed yet
        if not self._current.is_dir():
            return None
        record = _read(self._current)
        self._sweep(record)
        present = {entry.path: _digest(self._root / entry.path) for entry in record.files}
        if all(present[entry.path] == entry.new for entry in record.files):
            self._finish(record)
            return None
        edited = [entry.path for entry in record.files if present[entry.path] not in (entry.old, entry.new)]
        if edited:
            raise NeedsPerson(
                f"an interrupted change ({record.title}) cannot be taken back: {', '.join(edited)} "
                "was edited or removed since",
                hint=f"The old contents lie in {self._current / 'old'}, numbered as in transaction.json beside it. "
                f"Restore what is needed, then remove {self._current}.",
            )
        self._put_back(record)
        return record

    def _put_back(self, record: Record) -> None:
        """Restore the old content of every file that has the new one; then the transaction never was."""
        for index, entry in enumerate(record.files):
            if _digest(self._root / entry.path) == entry.new and entry.new != entry.old:
                old = _blob(self._current, "old", index, entry.old)
                self._replace(entry.path, old, expected=_blob(self._current, "new", index, entry.new))
        with side_effect("forget pins"):
            self._drop_current()

    def _drop_current(self) -> None:
        """End the promise by one rename; what is being removed counts as never promised."""
        gone = self._state / "prepared"
        self._current.rename(gone)
        files.sync_directory(self._state)
        files.remove_tree(gone)

    def _sweep(self, record: Record) -> None:
        """Remove the temporary files beside targets that a killed write left."""
        for entry in record.files:
            place = self._root / entry.path
            for part in place.parent.glob(f".{place.name}.*.part"):
                with side_effect("remove partial pin"):
                    part.unlink(missing_ok=True)

    def _done(self) -> list[int]:
        done = self._state / "done"
        return sorted(int(place.name) for place in done.iterdir() if place.name.isdigit()) if done.is_dir() else []

    def _place(self, number: int) -> Path:
        return self._state / "done" / str(number)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        files.private_directory(self._state)
        if self._state.parent.name == ".liftlock":
            files.write_atomic(self._state.parent / ".gitignore", "*\n")
        descriptor = os.open(self._state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, files.PRIVATE_FILE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Refused("another liftlock is changing this tree; nothing was changed", retryable=True) from None
        try:
            yield
        finally:
            os.close(descriptor)


def _entries(contents: Sequence[NewContent]) -> tuple[Entry, ...]:
    return tuple(
        Entry(path=each.path, old=hashlib.sha256(each.old).hexdigest(), new=hashlib.sha256(each.new).hexdigest())
        for each in contents
    )


def _read(place: Path) -> Record:
    try:
        return from_json((place / "transaction.json").read_bytes(), Record)
    except (OSError, ValueError) as error:
        raise NeedsPerson(f"{place / 'transaction.json'} cannot be read: {error}") from error


def _blob(place: Path, side: str, index: int, digest: str) -> bytes:
    data = (place / side / str(index)).read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise NeedsPerson(f"{place / side / str(index)} is damaged: it is not the content that was recorded")
    return data


def _digest(place: Path) -> str:
    try:
        return files.sha256(place)
    except OSError:
        return ""
