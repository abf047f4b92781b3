"""The demo is the product in one command: it must end with every comparison held, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.releases import cache_root

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("demo"), pytest.mark.timeout(900)]


def run(*words: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LIFTLOCK_CACHE": str(cache_root()), "TMPDIR": str(directory)}
    return subprocess.run(
        [sys.executable, "-m", "liftlock.cli.main", *words],
        capture_output=True,
        text=True,
        env=environment,
        cwd=directory,
        timeout=840,
        check=False,
    )


def test_demo_on_sqlite_holds_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("demo", "--json", directory=tmp_path)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    report = json.loads(done.stdout)
    lines = {line["stage"]: line for line in report["lines"]}
    assert all(line["ok"] for line in report["lines"])
    assert {"requests failed", "writes lost", "writes doubled"} <= lines.keys()
    assert not list(tmp_path.glob("liftlock-demo-*"))
    here = str(tmp_path)
    assert not [
        p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if here in " ".join(p.info["cmdline"] or ())
    ]


def test_demo_refuses_a_directory_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    done = run("demo", "--directory", str(tmp_path), directory=tmp_path)
    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep me"
