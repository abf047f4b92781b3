"""The job pattern: one run per job with nested runs per stage, safe against everything tracking may do.

    from liftlock_tracking import job_run, log_safely, stage_run

    with job_run("job-17", channel="general"):
        with stage_run("retrieve"):
            ...
        log_safely("log_metric", "score", 0.9)

The body's own exceptions pass through unchanged; tracking's never do. With tracking off or not configured
MLflow is not even imported.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Optional

from liftlock_tracking.quiet import warn
from liftlock_tracking.settings import SWITCHES


def enabled() -> bool:
    """Whether the helpers do anything: tracking is on and a tracking URI is known."""
    if not SWITCHES.tracking():
        return False
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return True
    import sys

    mlflow = sys.modules.get("mlflow")
    return mlflow is not None and not str(mlflow.get_tracking_uri()).startswith("liftlock+off")


def log_safely(function: str, *values: Any, **named: Any) -> Any:
    """Call `mlflow.<function>`; what it returns, or None when it failed (logged) or tracking is off."""
    if not enabled():
        return None
    try:
        import mlflow

        return getattr(mlflow, function)(*values, **named)
    except Exception as problem:  # noqa: BLE001 - the promise of this helper: tracking never fails a job
        warn(f"jobs {function}", "liftlock-tracking: mlflow.%s failed: %s", function, problem)
        return None


@contextmanager
def job_run(job_id: str, **tags: str) -> Iterator[Optional[Any]]:
    """A run for one job with the tag `job_id` (and `tags`); its status and error are recorded. Yields the run or None."""
    with _run(job_id, nested=False, tags={"job_id": job_id, **tags}) as run:
        yield run


@contextmanager
def stage_run(name: str, **tags: str) -> Iterator[Optional[Any]]:
    """A nested run for one stage of a job, with the metric `latency_seconds`. Yields the run or None."""
    with _run(name, nested=True, tags={"stage": name, **tags}) as run:
        yield run


@contextmanager
def _run(name: str, *, nested: bool, tags: dict[str, str]) -> Iterator[Optional[Any]]:
    run = log_safely("start_run", run_name=name, nested=nested, tags=tags)
    began = time.perf_counter()
    status = "FINISHED"
    try:
        yield run
    except BaseException as problem:
        status = "FAILED"
        if run is not None:
            log_safely("set_tags", {"status": "failed", "error": f"{type(problem).__name__}: {problem}"[:500]})
        raise
    finally:
        if run is not None:
            log_safely("log_metric", "latency_seconds", time.perf_counter() - began)
            if status == "FINISHED":
                log_safely("set_tag", "status", "completed")
            log_safely("end_run", status)
