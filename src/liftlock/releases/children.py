"""Environment variables for children: ours, without what would change how Python or MLflow behaves."""

from __future__ import annotations

import os
from collections.abc import Mapping

_DROPPED_PREFIXES = ("MLFLOW_", "PYTHON", "LIFTLOCK_", "CONDA_", "__PYVENV")
_DROPPED = frozenset({"VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "GIT_DIR", "GIT_WORK_TREE"})


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A complete environment for a child: `os.environ` minus MLFLOW_*, PYTHON*, ours and venv marks, plus `extra`.

    MLflow is told not to look for Git and not to send usage data, and Python prints UTF-8.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in _DROPPED and not name.startswith(_DROPPED_PREFIXES)
    }
    quiet = {
        "PYTHONIOENCODING": "utf-8",
        "PYTHONUNBUFFERED": "1",
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
    }
    return {**kept, **quiet, **(extra or {})}
