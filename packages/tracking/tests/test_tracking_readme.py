"""The session in the README, command by command, on the newest release."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from liftlock.releases.proof import free_port
from tests.support import releases
from tracking_support import PACKAGE, variables

pytestmark = [pytest.mark.release, pytest.mark.soak, pytest.mark.xdist_group("tracking-environments")]


def test_the_session_in_the_readme(tmp_path: Path) -> None:
    text = (PACKAGE / "README.md").read_text()
    (application,) = re.findall(r"```python\n(# app.py\n.*?)```", text, re.S)
    (tmp_path / "app.py").write_text(application)
    session = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.S)).replace("5000", str(free_port()))
    python = releases.environment(releases.newest()).python
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, words in (("mlflow", "-m mlflow"), ("liftlock-tracking", "-m liftlock_tracking.cli"), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\nexec {python} {words} "$@"\n')
        (programs / name).chmod(0o755)
    env = variables(tmp_path, None, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
    env["PATH"] = f"{programs}:{python.parent}:{env['PATH']}"
    (tmp_path / "session.sh").write_text("set -e\ntrap 'kill $SERVER 2>/dev/null || true' EXIT\n" + session)
    with (tmp_path / "out").open("w") as out:
        done = subprocess.run(
            ["bash", "session.sh"], cwd=tmp_path, env=env, stdout=out, stderr=subprocess.STDOUT, timeout=550
        )
    said = (tmp_path / "out").read_text()
    assert done.returncode == 0, said
    phases = re.findall(r"^phase: (.*)$", said, re.M)
    assert phases == ["0 off", "1 tracking", *["2 tracking and tracing"] * 3], said
    *before, during, after = map(int, re.findall(r"waiting +(\d+) calls", said))
    assert (before, after) == ([0, 0], 0) and during > 3 and "FAIL" not in said, said
    # A slow server may not have given the earlier runs their ids in time either: the last one is the outage's.
    kept = re.findall(r"^lt[0-9a-f]{30}$", said, re.M)[-1]
    assert re.search(rf"run {kept} -> [0-9a-f]{{32}}", said), said
