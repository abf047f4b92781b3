"""What MLflow's entry points load, at MLflow's own import: cheap, and without effect until a store is asked for."""

from __future__ import annotations

import atexit
import sys
from typing import Any, Optional

from liftlock_tracking.settings import OFF_URI


def tracking_store(store_uri: str, artifact_uri: Optional[str] = None, **_: Any) -> Any:
    """The tracking store for `liftlock+http(s)://...` and `liftlock+off:`."""
    from liftlock_tracking import store

    return store.build(store_uri, artifact_uri)


def registry_store(store_uri: str, tracking_uri: Optional[str] = None, **_: Any) -> Any:
    """The model registry store for the same URIs."""
    from liftlock_tracking import registry

    return registry.build(store_uri, tracking_uri)


def artifact_repository(artifact_uri: str, *given: Any, **more: Any) -> Any:
    """The artifact repository for `mlflow-artifacts:` and `liftlock-artifacts:`."""
    from liftlock_tracking import artifacts

    return artifacts.build(artifact_uri, *given, **more)


def _no_configuration_means_off() -> None:
    """Without MLFLOW_TRACKING_URI MLflow would begin a local store; beside this plugin it does nothing instead.

    Only the default of the release's own variable is set, in this process: an environment variable or
    `set_tracking_uri` that comes later counts as ever.
    """
    variable: Any = getattr(sys.modules.get("mlflow.environment_variables"), "MLFLOW_TRACKING_URI", None)
    if variable is not None and getattr(variable, "default", "") is None:
        variable.default = OFF_URI


@atexit.register
def _finish() -> None:
    # Registered this early so that it runs after MLflow's own exit work (which ends open runs).
    if runtime := sys.modules.get("liftlock_tracking.runtime"):
        runtime.finish()


_no_configuration_means_off()
