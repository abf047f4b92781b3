"""The job pattern without a server, with an MLflow that fails, and without MLflow. (On a server: test_tracking_models.)"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from liftlock_tracking import job_run, log_safely, stage_run


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_ENABLE_TRACKING", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "liftlock+http://x")


class Failing(ModuleType):
    """An `mlflow` of which every call raises."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError(f"{name} is broken")

        return fail


def worked() -> str:
    with job_run("job-1", channel="x") as job:
        with stage_run("one") as stage:
            assert log_safely("log_metric", "a", 1.0) is None
        assert job is None and stage is None
        return "done"


def test_a_job_does_its_work_although_every_call_of_mlflow_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", Failing("mlflow"))
    assert worked() == "done"


def test_a_job_does_its_work_without_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert worked() == "done"


@pytest.mark.parametrize("variable", [("MLFLOW_ENABLE_TRACKING", "false"), ("MLFLOW_TRACKING_URI", "")])
def test_mlflow_is_not_imported_while_tracking_is_off(
    variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*variable)
    monkeypatch.delitem(sys.modules, "mlflow", raising=False)
    assert worked() == "done" and "mlflow" not in sys.modules


def test_the_error_of_a_job_passes_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", Failing("mlflow"))
    mine = KeyError("mine")
    with pytest.raises(KeyError) as caught, job_run("job-1"), stage_run("one"):
        raise mine
    assert caught.value is mine
