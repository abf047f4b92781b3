"""The tracking store's calls about experiments: asked while the server answers, else as they were last seen."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Optional

from liftlock_tracking import asking, entities

if TYPE_CHECKING:
    from mlflow.store.tracking.rest_store import RestStore
else:
    # The release's own store is mixed in when it is known to be needed (store.py).
    RestStore = object

OFF_RUN = "lo"


class SpooledExperiments(RestStore):
    """A part of SpooledStore (store.py), which sets `_runtime`."""

    _runtime: Any

    def _off(self) -> bool:
        """Whether calls go nowhere now."""
        raise NotImplementedError

    def create_experiment(self, name: str, artifact_location: Any = None, tags: Any = None) -> str:
        """The server's id within the read bound, else a provisional one (bound by name when it is back)."""
        if self._off():
            return str(self._off_experiment(name)["experiment_id"])
        runtime = self._runtime
        try:
            asking.ready(runtime)
            return str(super().create_experiment(name, artifact_location, tags))
        except asking.ServerAway:
            return str(self._provisional_experiment(name, artifact_location, tags)["experiment_id"])

    def get_experiment_by_name(self, experiment_name: str) -> Any:
        """As the server has it, else as it was last seen, else a provisional one of that name."""
        if self._off():
            return entities.experiment(self._off_experiment(experiment_name))
        runtime = self._runtime
        made_here = runtime.experiments.get(f"name:{experiment_name}")
        if made_here is None or runtime.real_id(made_here["experiment_id"]):
            try:
                found = super().get_experiment_by_name(experiment_name)
                if found is not None:
                    self._remember(found)
                return found
            except asking.ServerAway:
                seen = self._seen(f"name:{experiment_name}")
                if seen is not None:
                    return entities.experiment(seen)
        return entities.experiment(made_here or self._provisional_experiment(experiment_name, None, None))

    def get_experiment(self, experiment_id: Any) -> Any:
        """As the server has it, else as it was last seen."""
        key = str(experiment_id)
        if self._off() or key.startswith(OFF_RUN):
            return entities.experiment(self._off_experiment("Default", key))
        runtime = self._runtime
        real = runtime.real_id(key)
        if real:
            try:
                found = super().get_experiment(real)
                self._remember(found)
                return found
            except asking.ServerAway:
                seen = self._seen(f"id:{real}")
                if seen is None and real == "0":
                    seen = {"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}
                if seen is None:
                    raise
                return entities.experiment(seen)
        known = runtime.experiments.get(f"id:{key}")
        if known is None:
            raise asking.away(f"experiment {key}", "not shipped yet")
        return entities.experiment(known)

    def _provisional_experiment(self, name: str, location: Any, tags: Any) -> dict[str, Any]:
        prov = "lx" + uuid.uuid4().hex[2:]
        body: dict[str, Any] = {"name": name, "tags": [{"key": t.key, "value": t.value} for t in tags or []]}
        if location:
            body["artifact_location"] = location
        self._runtime.append({"k": "experiment", "p": prov, "body": body}, urgent=True)
        known = {
            "experiment_id": prov, "name": name, "lifecycle_stage": "active", "tags": body["tags"],
            "artifact_location": location or f"liftlock-artifacts:/experiment/{prov}",
        }  # fmt: skip
        self._runtime.experiments[f"name:{name}"] = self._runtime.experiments[f"id:{prov}"] = known
        return known

    def _off_experiment(self, name: str, key: Optional[str] = None) -> dict[str, Any]:
        return {
            "experiment_id": key or "0",
            "name": name,
            "lifecycle_stage": "active",
            "artifact_location": "liftlock-artifacts:/off",
        }

    def _remember(self, found: Any) -> None:
        body = {
            "experiment_id": found.experiment_id,
            "name": found.name,
            "artifact_location": found.artifact_location,
            "lifecycle_stage": found.lifecycle_stage,
        }
        runtime = self._runtime
        if runtime.experiments.get(f"id:{found.experiment_id}") != body:
            runtime.experiments[f"id:{found.experiment_id}"] = runtime.experiments[f"name:{found.name}"] = body
            asking.quietly(runtime.state.remember_experiment, body) if runtime.spool.folder.exists() else None

    def _seen(self, key: str) -> Optional[dict[str, Any]]:
        runtime = self._runtime
        known: Optional[dict[str, Any]] = runtime.experiments.get(key)
        if known is None and runtime.spool.folder.exists():
            known = asking.quietly(runtime.state.experiment, key)
        return known
