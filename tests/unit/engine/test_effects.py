"""Named side effects: written down, and killed at the occurrence that was asked for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import sys
from liftlock.effects import side_effect
for _ in range(3):
    with side_effect("x"):
        print("x", flush=True)
    with side_effect("y"):
        print("y", flush=True)
"""


def run(**variables: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", _CODE], env=env, capture_output=True, text=True, timeout=60)


def test_names_are_written_in_order(tmp_path: Path) -> None:
    assert run(LIFTLOCK_EFFECTS_LOG=str(tmp_path / "log")).returncode == 0
    assert (tmp_path / "log").read_text().split() == ["x", "y"] * 3


@pytest.mark.parametrize(
    ("point", "printed"),
    [
        ("before:x", ""),
        ("after:x", "x"),
        ("before:y#1", "x"),
        ("before:x#2", "xy"),
        ("after:y#2", "xyxy"),
        ("after:x#3", "xyxyx"),
    ],
)
def test_kills_at_one_occurrence(point: str, printed: str) -> None:
    done = run(LIFTLOCK_CRASH_AT=point)
    assert done.returncode == -signal.SIGKILL
    assert done.stdout.replace("\n", "") == printed


@pytest.mark.parametrize("point", ["before:z", "after:x#4", "before:x#0"])
def test_a_point_that_never_comes_kills_nobody(point: str) -> None:
    assert run(LIFTLOCK_CRASH_AT=point).returncode == 0
