"""What `gather` looks at beside the plan: the gate's own log, room on disks, the Python of the old environment."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from liftlock.app.plan_report import compose, gather
from liftlock.app.workspace import Workspace
from liftlock.describe import config as configuration
from liftlock.errors import ReleaseError, UsageError
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.compatibility import State
from liftlock.model.deployment import Deployment
from liftlock.model.plan import Estimate, Origin
from liftlock.model.release import Jump, Release
from liftlock.report.plan_content import Level, Room
from tests.support import plans

TEXT = (
    'format = 1\nname = "d"\n[server]\nrelease = "2.9.2"\npython = "p"\nworking_directory = "."\n'
    '[stores]\ntracking = "sqlite:///x.db"\n'
)
LINE = {
    "at": 1_790_000_000_000, "peer": "10.0.0.1", "verb": "POST", "path": "/api/2.0/mlflow/runs/create",
    "agent": "mlflow-python-client/2.9.2", "client": "", "read": False, "status": 200, "us": 5,
}  # fmt: skip


@pytest.fixture
def deployment() -> Deployment:
    return plans.deployment({"runs": 3, "metrics": 1000})


@pytest.fixture
def workspace(tmp_path: Path, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    made = Workspace(configuration.loads(TEXT, tmp_path / "liftlock.toml"))
    monkeypatch.setattr(made, "deployment", lambda: deployment)
    observed = SimpleNamespace(python_version="3.8.1")
    made.__dict__["environments"] = SimpleNamespace(observe=lambda _: observed)
    return made


def test_the_gates_own_log_is_read_without_being_asked(workspace: Workspace, deployment: Deployment) -> None:
    plan = plans.given(deployment).plan
    without = gather(workspace, plan)
    assert without.fates is None
    assert any("no access log" in each for each in without.unknown)
    gate = workspace.state / "gate"
    gate.mkdir()
    (gate / "access.log").write_text(json.dumps(LINE) + "\n")
    found = gather(workspace, plan)
    assert found.fates is not None
    assert [(each.seen.version, each.state) for each in found.fates] == [("2.9.2", State.WORKS)]
    assert not any("no access log" in each for each in found.unknown)
    (gate / "access.log").write_text("nothing\n")
    with pytest.raises(UsageError, match="no line is a request"):
        gather(workspace, plan)


def test_room_and_python_are_looked_at(workspace: Workspace, deployment: Deployment) -> None:
    found = gather(workspace, plans.given(deployment).plan)
    assert found.room[0].needed == 2000, "a backup, and a copy beside the SQLite file"
    assert found.room[0].free > 0
    python = next(each for each in found.floors if each.what == "Python")
    assert (python.have, python.met) == ("3.8.1", False)
    assert any("environment of today" in risk.what for risk in found.risks)


def test_a_release_that_is_not_in_the_catalogue(workspace: Workspace, deployment: Deployment) -> None:
    plan = plans.given(deployment).plan
    jump = Jump(source=plan.jump.source, target=Release(version="77.0.0"))
    with pytest.raises(ReleaseError, match="knows no MLflow"):
        gather(workspace, msgspec.structs.replace(plan, jump=jump))


def test_a_risk_weighs_what_its_findings_say(deployment: Deployment) -> None:
    given = plans.given(deployment)

    def level(what: str, **changes: object) -> tuple[Level, Level]:
        report = compose(msgspec.structs.replace(given, **changes), load())
        risk = next(each for each in report.risks if what in each.what)
        return risk.likelihood, risk.impact

    def window(origin: Origin, high: float) -> object:
        estimate = Estimate(low=1.0, high=high, origin=origin)
        return msgspec.structs.replace(given.plan, window=estimate)

    held = "writes are held"
    assert level(held, plan=window(Origin.REHEARSED, 10.0)) == (Level.LOW, Level.LOW)
    assert level(held, plan=window(Origin.COMPUTED, 100.0)) == (Level.MEDIUM, Level.MEDIUM)
    assert level(held, plan=window(Origin.COMPUTED, 5000.0)) == (Level.MEDIUM, Level.HIGH)
    code = "code of your own"
    assert level(code) == (Level.MEDIUM, Level.HIGH)
    assert level(code, used=()) == (Level.LOW, Level.LOW)
    assert level("clients that run today", seen=()) == (Level.LOW, Level.HIGH)
    tight = (Room(path="/x", needed=1000, free=1500),)
    assert level("a disk fills up", room=tight) == (Level.HIGH, Level.MEDIUM)
    report = compose(given, load())
    assert not any("disk" in risk.what for risk in report.risks)
