"""liftlock-tracking: MLflow tracking that never fails, delays or forgets because the server is away.

Nothing is imported here but names: MLflow loads the plugin at its own import, and a switched-off
application must not pay for it.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "flush", "job_run", "log_safely", "metrics", "stage_run"]


def __getattr__(name: str) -> Any:
    if name in ("job_run", "stage_run", "log_safely"):
        from liftlock_tracking import jobs

        return getattr(jobs, name)
    if name in ("flush", "metrics"):
        from liftlock_tracking import runtime

        return getattr(runtime, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
