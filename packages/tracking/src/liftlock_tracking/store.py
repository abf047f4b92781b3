"""The tracking store: the release's own REST store with every mutating call spooled and every read bounded."""

from __future__ import annotations

import json
import threading
import time
import uuid
from functools import lru_cache, partial
from typing import Any, Optional

from liftlock_tracking import asking, entities, models
from liftlock_tracking.experiments import OFF_RUN, SpooledExperiments
from liftlock_tracking.runtime import Runtime, runtime_for
from liftlock_tracking.settings import OFF_URI, SWITCHES, SettingsError
from liftlock_tracking.views import Nowhere, RunView
from liftlock_tracking.wire import credentials

_NOWHERE: Any = Nowhere()

# Mutating calls whose answer the release's own client does not use: spooled as they stand.
FIRE_AND_FORGET = frozenset(
    {
        "DeleteExperiment", "DeleteExperimentTag", "DeleteLoggedModelTag", "DeleteRun", "DeleteTag", "DeleteTraceTag",
        "LinkTracesToRun", "LogInputs", "LogLoggedModelParamsRequest", "LogModel", "LogOutputs", "RestoreExperiment",
        "RestoreRun", "SetExperimentTag", "SetTraceTag", "UpdateExperiment",
    }
)  # fmt: skip


def build(store_uri: str, _artifact_uri: Optional[str] = None) -> Any:
    """A store for the URI. Raises MlflowException for settings that cannot be meant."""
    try:
        runtime = None if store_uri.startswith(OFF_URI) else runtime_for(store_uri)
    except SettingsError as problem:
        from mlflow.exceptions import MlflowException

        raise MlflowException(str(problem)) from None
    _switch_tracing(runtime is not None and SWITCHES.tracing())
    return _store_class()(runtime)


# Whether tracing was disabled here: then a store that is built later may enable it again.
_UNTRACED = threading.Event()


def _switch_tracing(on: bool) -> None:
    if on and not _UNTRACED.is_set():
        return
    try:
        from mlflow import tracing

        if on:
            _UNTRACED.clear()
            # It builds a store, as MLflow is doing right now, under one lock.
            threading.Thread(target=tracing.enable, name="liftlock-tracking-enable", daemon=True).start()
        else:
            tracing.disable()
            _UNTRACED.set()
    except (ImportError, AttributeError):
        pass  # a release without tracing


# From 2.17 on the release's client, before it ends a run, asks the store for the server's host name and then for the run,
# only to print a link. That must not wait: a thread that has just asked for the host gets the run as it is known here.
_PRINTING = threading.local()


def _creds_for_link(uri: str) -> Any:
    _PRINTING.host = True
    return credentials(uri)


@lru_cache(maxsize=1)
def _store_class() -> type:
    from mlflow.store.tracking.rest_store import RestStore

    return type("LiftlockStore", (SpooledStore, RestStore), {"__module__": __name__, "_release": RestStore})


class SpooledStore(SpooledExperiments):
    """Mixed in before the release's RestStore by `_store_class`."""

    def __init__(self, runtime: Optional[Runtime]) -> None:
        uri = runtime.settings.uri if runtime else "http://off.invalid"
        super().__init__(partial(_creds_for_link, uri))
        self._runtime = runtime or _NOWHERE
        self._nowhere = runtime is None

    # --- the switch --------------------------------------------------------------------------------------

    def _off(self) -> bool:
        return self._nowhere or not SWITCHES.tracking()

    def _ignored(self, run_id: str) -> bool:
        """Whether a call about this run goes nowhere: tracking is off, or was when the run was started."""
        return run_id.startswith(OFF_RUN) or self._off()

    # --- runs --------------------------------------------------------------------------------------------

    def create_run(self, experiment_id: Any, user_id: Any, start_time: Any, tags: Any, run_name: Any) -> Any:
        """Spool a new run; the server's own id if it answers within the call bound, else a provisional one."""
        began = time.monotonic()
        off = self._off()
        pairs = {str(t.key): str(t.value) for t in tags or []}
        name = run_name or pairs.get("mlflow.runName") or entities.random_name()
        prov = (OFF_RUN if off else "lt") + uuid.uuid4().hex[2:]
        body: dict[str, Any] = {
            "experiment_id": str(experiment_id),
            "user_id": user_id or "unknown",
            "start_time": int(start_time if start_time is not None else time.time() * 1000),
            "tags": [{"key": k, "value": v} for k, v in pairs.items()],
            "run_name": name,
        }
        description = {
            **{k: body[k] for k in ("experiment_id", "user_id", "start_time", "run_name")},
            "run_id": prov,
            "run_uuid": prov,
            "status": "RUNNING",
            "lifecycle_stage": "active",
            "artifact_uri": f"liftlock-artifacts:/run/{prov}",
        }
        view = RunView(description, {"mlflow.runName": name, **pairs})
        runtime = self._runtime
        runtime.runs.remember(prov, view)
        if not off:
            position = runtime.append({"k": "run", "p": prov, "body": body}, urgent=True)
            if runtime.wait_born(position, began):
                real = runtime.real_id(prov)
                if real:
                    extra: dict[str, Any] = (runtime.state.bound(prov) or ("", {}))[1]
                    view.info = {**description, **extra.get("info", {})}
                    runtime.runs.remember(real, view)
            _know_artifacts(runtime, view)
        return entities.run(view)

    def update_run_info(self, run_id: str, run_status: Any, end_time: Any, run_name: Any) -> Any:
        """Spool a change of a run's status, end or name."""
        from mlflow.entities import RunStatus

        view = self._view(run_id)
        change: dict[str, Any] = {}
        if run_status is not None:
            change["status"] = run_status if isinstance(run_status, str) else RunStatus.to_string(run_status)
        if end_time is not None:
            change["end_time"] = int(end_time)
        if run_name:
            change["run_name"] = run_name
            view.tags["mlflow.runName"] = run_name
        view.info = {**view.info, **change}
        if not self._ignored(run_id):
            body = {"run_id": run_id, "run_uuid": run_id, **change}
            self._call("UpdateRun", "POST", "/api/2.0/mlflow/runs/update", body, run_id)
        return entities.run(view).info

    def get_run(self, run_id: str) -> Any:
        """A run as the server has it once everything is shipped, else as this process knows it."""
        if self._ignored(run_id):
            return entities.run(self._view(run_id))
        runtime = self._runtime
        known = runtime.runs.get(run_id)
        if known is not None and getattr(_PRINTING, "host", False):
            # The release's client only wants the run's name, to print where to look at it.
            _PRINTING.host = False
            return entities.run(known)
        flushed = runtime.flush(runtime.settings.read_bound)
        real = runtime.real_id(run_id)
        if real and (flushed or known is None):
            try:
                return super().get_run(real)
            except asking.ServerAway:
                if known is None:
                    raise
        if known is None:
            raise asking.away(f"run {run_id}", runtime.breaker.reason or "not shipped yet")
        return entities.run(known)

    def _view(self, run_id: str) -> RunView:
        view: Optional[RunView] = self._runtime.runs.get(run_id)
        if view is None:
            view = RunView(
                {"run_id": run_id, "run_uuid": run_id, "experiment_id": "0", "user_id": "", "status": "RUNNING",
                 "lifecycle_stage": "active", "run_name": "", "artifact_uri": f"liftlock-artifacts:/run/{run_id}",
                 "start_time": 0}, {},
            )  # fmt: skip
            if run_id.startswith(OFF_RUN):
                self._runtime.runs.remember(run_id, view)
        return view

    # --- what is logged ----------------------------------------------------------------------------------

    def log_metric(self, run_id: str, metric: Any) -> None:
        """Spool one point."""
        if self._ignored(run_id):
            return
        entities.check_metric(metric)
        point = entities.point(metric)
        view = self._runtime.runs.get(run_id)
        if view is not None:
            view.saw(point)
        self._runtime.append({"k": "b", "r": run_id, "m": (point,)})

    def log_param(self, run_id: str, param: Any) -> None:
        """Spool one parameter; a second value for one is refused as the server would."""
        if self._ignored(run_id):
            return
        entities.check_param(param)
        self._params(run_id, [param])
        self._runtime.append({"k": "b", "r": run_id, "p": ((param.key, str(param.value)),)})

    def set_tag(self, run_id: str, tag: Any) -> None:
        """Spool one tag."""
        if self._ignored(run_id):
            return
        entities.check_tag(tag)
        self._tag(run_id, tag)
        self._runtime.append({"k": "b", "r": run_id, "t": ((tag.key, str(tag.value)),)})

    def log_batch(self, run_id: str, metrics: Any, params: Any, tags: Any) -> None:
        """Spool many at once."""
        if self._ignored(run_id):
            return
        metrics, params, tags = metrics or (), params or (), tags or ()
        entities.check_batch(metrics, params, tags)
        points = [entities.point(m) for m in metrics]
        self._params(run_id, params)
        for tag in tags:
            self._tag(run_id, tag)
        view = self._runtime.runs.get(run_id)
        if view is not None:
            for point in points:
                view.saw(point)
        call: dict[str, Any] = {"k": "b", "r": run_id}
        if points:
            call["m"] = points
        if params:
            call["p"] = [(p.key, str(p.value)) for p in params]
        if tags:
            call["t"] = [(t.key, str(t.value)) for t in tags]
        if len(call) > 2:
            self._runtime.append(call)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Spool the deletion of a tag."""
        if self._ignored(run_id):
            return
        view = self._runtime.runs.get(run_id)
        if view is not None:
            view.tags.pop(key, None)
        self._call("DeleteTag", "POST", "/api/2.0/mlflow/runs/delete-tag", {"run_id": run_id, "key": key}, run_id)

    def _params(self, run_id: str, params: Any) -> None:
        """Remember parameters, all of them or, when one of them has another value already, none."""
        view = self._runtime.runs.get(run_id)
        if view is None:
            return
        now = dict(view.params)
        for param in params:
            before = now.setdefault(param.key, str(param.value))
            if before != str(param.value):
                raise entities.param_changed(run_id, param.key, before, str(param.value))
        view.params = now

    def _tag(self, run_id: str, tag: Any) -> None:
        view = self._runtime.runs.get(run_id)
        if view is not None:
            view.tags[tag.key] = str(tag.value)
            if tag.key == "mlflow.runName":
                view.info = {**view.info, "run_name": str(tag.value)}

    # --- everything else ---------------------------------------------------------------------------------

    def _call(self, api: str, method: str, endpoint: str, body: Any, run_id: str = "", **more: Any) -> Optional[int]:
        call = {"k": "call", "api": api, "m": method, "e": endpoint, "r": run_id, "body": body, **more}
        position: Optional[int] = self._runtime.append(call)
        return position

    def _call_endpoint(self, api: Any, json_body: Any = None, *given: Any, **more: Any) -> Any:
        """Every call of the release's own store ends here: spooled, answered by us, or asked within a bound."""
        name = api.DESCRIPTOR.name
        _PRINTING.host = False
        body = json.loads(json_body) if json_body else {}
        if self._off():
            return models.off(api, name, body)
        endpoint, method = asking.route(self, api, more.get("endpoint") or (given[0] if given else None))
        if name in FIRE_AND_FORGET:
            run_id = str(body.get("run_id", ""))
            if not run_id.startswith(OFF_RUN):
                self._call(name, method, endpoint, body, run_id)
            return api.Response()
        handled = models.handle(self._runtime, name, api, method, endpoint, body)
        if handled is not None:
            return handled
        asking.ready(self._runtime)
        response = more.get("response_proto") or api.Response()
        return asking.ask(self._runtime, method, endpoint, body, response)

    def log_spans(self, location: Any = None, spans: Any = None, tracking_uri: Any = None, **named: Any) -> Any:
        """Spool finished spans as the bytes the release's own exporter would send."""
        location = location if location is not None else named.get("experiment_id")
        if self._off() or not SWITCHES.tracing() or not spans:
            return []
        call = models.spans_call(location, spans)
        if call is None:
            raise NotImplementedError("this release's span format is not known; the trace is kept as a whole instead")
        self._runtime.append(call)
        return spans


def _know_artifacts(runtime: Runtime, view: RunView) -> None:
    """Put the run's repository where the release's client keeps those it has met.

    Otherwise its first artifact would make it ask the server for the run, which waits when the server hangs.
    """
    from mlflow.tracking._tracking_service import client, utils

    from liftlock_tracking import artifacts

    holder: Any = utils if hasattr(utils, "_artifact_repos_cache") else client.TrackingServiceClient
    cache = getattr(holder, "_artifact_repos_cache", None)
    place = view.info.get("artifact_uri", "")
    if cache is not None and place.startswith(("liftlock-artifacts:", "mlflow-artifacts:")):
        while len(cache) > 1000:
            cache.popitem(last=False)
        cache[view.info["run_id"]] = artifacts.build(place, f"liftlock+{runtime.settings.uri}")
