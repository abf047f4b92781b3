"""Processes looked up without the library: the same answers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from liftlock.runtimes import process_tree
from liftlock.runtimes.interface import Handle


def test_a_process_lives_until_it_ends_and_its_successor_is_another() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as child:
        handle = process_tree.handle_of(child.pid)
        assert handle is not None
        assert process_tree.lives_still(handle)
        assert not process_tree.lives_still(Handle(pid=handle.pid, created=handle.created - 1))
        child.kill()
        for _ in range(100):
            if not process_tree.lives_still(handle):  # a zombie: nobody has waited for it
                break
            time.sleep(0.05)
        assert not process_tree.lives_still(handle)
    assert not process_tree.lives_still(handle)


def test_where_linux_says_nothing_the_library_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    own = process_tree.handle_of(os.getpid())
    assert own is not None

    def nothing(self: Path) -> bytes:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_bytes", nothing)
    assert process_tree.lives_still(own)
    assert not process_tree.lives_still(Handle(pid=own.pid, created=own.created + 1))
    monkeypatch.setattr(Path, "iterdir", nothing)
    assert process_tree.mentioning("python") is None


def test_processes_are_found_by_a_word_of_their_command_line() -> None:
    word = f"sought-{os.getpid()}"
    assert process_tree.mentioning(word) == []
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()", word], stdin=subprocess.PIPE) as child:
        for _ in range(100):
            if process_tree.mentioning(word):  # from exec on
                break
            time.sleep(0.05)
        assert process_tree.mentioning(word) == [child.pid]
        child.kill()
