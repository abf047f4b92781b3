from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.app.sites import keep_jobs_off
from liftlock.describe.config import Config, ServerSection, StoresSection
from liftlock.model.release import Jump, Release

NAME = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"


@pytest.mark.parametrize(
    ("source", "target", "given", "expected"),
    [
        ("2.9.2", "3.17.2", {}, {NAME: "false"}),
        ("3.6.0", "3.17.2", {}, {NAME: "false"}),
        ("3.6.0", "3.17.2", {NAME: "true"}, {}),
        ("3.9.0", "3.17.2", {}, {}),
        ("2.9.2", "3.4.0", {}, {}),
    ],
)
def test_jobs_stay_as_they_were(source: str, target: str, given: dict[str, str], expected: dict[str, str]) -> None:
    server = ServerSection(release=source, python="/p", working_directory="/w", environment=given)
    config = Config(path=Path("/c"), name="n", server=server, stores=StoresSection(tracking="sqlite:////w/m.db"))
    jump = Jump(source=Release(version=source), target=Release(version=target))
    assert keep_jobs_off(jump, config) == expected
