"""kill -9 at every system call that writes, at every named effect, during commit, undo and recovery itself."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from liftlock import effects
from liftlock.errors import NeedsPerson, PutBack, Refused
from liftlock.pins.transaction import NewContent, Transactions

CALLS = ("fsync", "rename", "replace", "unlink", "rmdir", "mkdir", "fchmod", "chown", "open")
OLD = {"a.txt": b"old a\n", "d/b.txt": b"old b\r\n", "d/c.txt": b"\xef\xbb\xbfold c"}
NEW = {"a.txt": b"new a, longer\n", "d/b.txt": b"n\r\n", "d/c.txt": b"\xef\xbb\xbfnew c"}


def tree(tmp_path: Path) -> tuple[Path, Transactions]:
    root = tmp_path / "root"
    for path, data in OLD.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
        (root / path).chmod(0o640)
    return root, Transactions(root, tmp_path / "state" / "pin")


def present(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def contents() -> list[NewContent]:
    return [NewContent(path, OLD[path], NEW[path]) for path in OLD]


def killed_at(call: int, work: Callable[[], Any]) -> bool:
    """Do the work in a child that is killed before its `call`-th writing system call; False when it never got there."""
    child = os.fork()
    if child == 0:
        count = 0
        effects._seen.clear()  # the child counts its own

        def counting(real: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*words: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*words, **options)

            return wrapped

        for name in CALLS:
            setattr(os, name, counting(getattr(os, name)))
        try:
            work()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_commit_and_undo(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    transactions.commit("pin", contents())
    assert present(root) == NEW
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o640
    last = transactions.last()
    assert last is not None and last.title == "pin"
    assert transactions.undo().title == "pin"
    assert present(root) == OLD and transactions.last() is None
    with pytest.raises(Refused, match="no change to undo"):
        transactions.undo()


def test_a_kill_at_every_call_of_a_commit_leaves_old_or_new(tmp_path: Path) -> None:
    points = 0
    states = set()
    while True:
        points += 1
        root, transactions = tree(tmp_path / str(points))
        if not killed_at(points, partial(transactions.commit, "pin", contents())):
            break
        found = present(root)
        assert all(found[path] in (OLD[path], NEW[path]) for path in OLD), "a reader sees a whole file at any time"
        transactions.recover()
        assert present(root) in (OLD, NEW), f"killed at call {points}"
        states.add(present(root) == NEW)
        transactions.recover()
        transactions.commit("again", [NewContent(path, data, b"x") for path, data in present(root).items()])
        assert set(present(root).values()) == {b"x"}
    assert points > 40 and states == {True, False}


def test_a_kill_at_every_call_of_an_undo_leaves_new_or_old(tmp_path: Path) -> None:
    points = 0
    while True:
        points += 1
        root, transactions = tree(tmp_path / str(points))
        transactions.commit("pin", contents())
        if not killed_at(points, transactions.undo):
            break
        transactions.recover()
        assert present(root) in (OLD, NEW), f"killed at call {points}"
        if present(root) == NEW:
            transactions.undo()
        assert present(root) == OLD and transactions.last() is None
    assert points > 40


def test_a_kill_at_every_call_of_a_recovery_is_recovered_from(tmp_path: Path) -> None:
    def halfway(transactions: Transactions) -> None:
        os.environ["LIFTLOCK_CRASH_AT"] = "after:write pin d/b.txt"
        transactions.commit("pin", contents())

    points = 0
    while True:
        points += 1
        root, transactions = tree(tmp_path / str(points))
        assert killed_at(10_000, partial(halfway, transactions))
        assert present(root)["a.txt"] == NEW["a.txt"] and present(root)["d/c.txt"] == OLD["d/c.txt"]
        if not killed_at(points, transactions.recover):
            break
        record = transactions.recover()
        assert present(root) == OLD and (record is None or record.title == "pin")
    assert present(root) == OLD and points > 10


def test_what_somebody_edited_after_a_kill_is_never_overwritten(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)

    def killed() -> None:
        os.environ["LIFTLOCK_CRASH_AT"] = "before:write pin d/c.txt"
        transactions.commit("pin", contents())

    assert killed_at(10_000, killed)
    (root / "a.txt").write_bytes(b"mine")
    with pytest.raises(NeedsPerson, match=r"a\.txt was edited or removed since"):
        transactions.recover()
    assert (root / "a.txt").read_bytes() == b"mine"
    (root / "a.txt").write_bytes(OLD["a.txt"])
    assert transactions.recover() is not None
    assert present(root) == OLD


def test_a_file_edited_since_it_was_read_refuses_the_whole(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    (root / "d/c.txt").write_bytes(b"mine")
    with pytest.raises(Refused, match=r"d/c\.txt:1: it was changed"):
        transactions.commit("pin", contents())
    assert present(root) == {**OLD, "d/c.txt": b"mine"}


def test_an_undo_over_an_edited_file_is_refused(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    transactions.commit("pin", contents())
    (root / "d/c.txt").write_bytes(b"mine")
    with pytest.raises(Refused):
        transactions.undo()
    assert present(root) == {**NEW, "d/c.txt": b"mine"}


def test_a_write_that_fails_puts_all_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, transactions = tree(tmp_path)
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target == root / "d/c.txt":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(PutBack, match="No space left"):
        transactions.commit("pin", contents())
    assert present(root) == OLD and transactions.last() is None


def test_one_at_a_time(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    transactions.commit("pin", contents())
    with (tmp_path / "state/pin/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="another liftlock"):
            transactions.undo()
    assert present(root) == NEW


def test_a_reader_sees_old_or_new_at_any_time(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    child = os.fork()
    if child == 0:
        for _ in range(20):
            transactions.commit("pin", contents())
            transactions.undo()
        os._exit(0)
    seen = set()
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        for path in OLD:
            data = (root / path).read_bytes()
            assert data in (OLD[path], NEW[path])
            seen.add(data)
    assert seen == {*OLD.values(), *NEW.values()}


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    root, transactions = tree(tmp_path)
    data = OLD["a.txt"]
    for number in range(12):
        transactions.commit(f"pin {number}", [NewContent("a.txt", data, f"{number}".encode())])
        data = f"{number}".encode()
    for number in range(11, 1, -1):
        assert transactions.undo().title == f"pin {number}"
    with pytest.raises(Refused):
        transactions.undo()
    assert (root / "a.txt").read_bytes() == b"1"
