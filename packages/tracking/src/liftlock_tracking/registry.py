"""The model registry store: calls need the server's answer (version numbers), so they wait, but never long."""

from __future__ import annotations

import json
import uuid
from functools import lru_cache, partial
from typing import Any, Optional

from liftlock_tracking import asking
from liftlock_tracking.creations import SPOOL_TAG
from liftlock_tracking.runtime import Runtime, runtime_for
from liftlock_tracking.settings import OFF_URI, SWITCHES
from liftlock_tracking.wire import credentials


def build(store_uri: str, _tracking_uri: Optional[str] = None) -> Any:
    """A registry store for the URI."""
    return _registry_class()(None if store_uri.startswith(OFF_URI) else runtime_for(store_uri))


@lru_cache(maxsize=1)
def _registry_class() -> type:
    from mlflow.store.model_registry.rest_store import RestStore

    return type("LiftlockRegistry", (BoundedRegistry, RestStore), {"__module__": __name__})


class BoundedRegistry:
    """Mixed in before the release's registry RestStore by `_registry_class`."""

    def __init__(self, runtime: Optional[Runtime]) -> None:
        super().__init__(partial(credentials, runtime.settings.uri if runtime else "http://off.invalid"))  # type: ignore[call-arg]
        self._runtime = runtime

    def _call_endpoint(
        self, api: Any, json_body: Any, call_all_endpoints: bool = False, extra_headers: Any = None, **_: Any
    ) -> Any:
        """Every registry call ends here: asked within the read bound, or refused clearly."""
        name = api.DESCRIPTOR.name
        body = json.loads(json_body) if json_body else {}
        response = self._get_response_from_method(api)  # type: ignore[attr-defined]
        runtime = self._runtime
        if runtime is None or not SWITCHES.tracking():
            return _pretend(response, name, body)
        asking.ready(runtime)
        if name == "CreateModelVersion":
            body["tags"] = [*body.get("tags", []), {"key": SPOOL_TAG, "value": uuid.uuid4().hex}]
            body["source"] = _real_source(runtime, body.get("source", ""))
        if call_all_endpoints:
            endpoint, method = self._get_all_endpoints_from_method(api)[0]  # type: ignore[attr-defined]
        else:
            endpoint, method = self._get_endpoint_from_method(api)  # type: ignore[attr-defined]
        extra = {"extra_headers": extra_headers} if extra_headers else {}
        try:
            return asking.ask(runtime, method, endpoint, body, response, **extra)
        except asking.ServerAway:
            if name == "CreateModelVersion" and (made := self._made_after_all(api, body)) is not None:
                return made
            raise

    def _made_after_all(self, api: Any, body: dict[str, Any]) -> Any:
        """Whether the version was made although its answer was lost: found by the tag only this call sent."""
        assert self._runtime is not None
        mine = body["tags"][-1]["value"]
        question = {"filter": "name='" + str(body["name"]).replace("'", "''") + "'", "max_results": 50}
        answer = self._runtime.wire.call("GET", "/api/2.0/mlflow/model-versions/search", question)
        for version in getattr(answer, "body", {}).get("model_versions", []):
            if any(t.get("key") == SPOOL_TAG and t.get("value") == mine for t in version.get("tags", [])):
                self._runtime.breaker.answered()
                return _fill(self._get_response_from_method(api), {"model_version": version})  # type: ignore[attr-defined]
        return None


def _real_source(runtime: Runtime, source: str) -> str:
    """A model's source as the server knows it: an artifact place of ours becomes the real one."""
    if not source.startswith("liftlock-artifacts:/"):
        return source
    _, _, name = source[len("liftlock-artifacts:/") :].partition("/")
    prov, _, rest = name.partition("/")
    bound = runtime.state.bound(prov)
    if not bound or not bound[0]:
        raise asking.away(f"the registration of {source}", "its run is not shipped yet")
    return bound[1].get("artifact_uri", "").rstrip("/") + ("/" + rest if rest else "")


def _pretend(response: Any, name: str, body: dict[str, Any]) -> Any:
    if name in ("CreateRegisteredModel", "GetRegisteredModel", "UpdateRegisteredModel"):
        return _fill(response, {"registered_model": {"name": body.get("name", "")}})
    if name in ("CreateModelVersion", "GetModelVersion", "UpdateModelVersion"):
        version = {"name": body.get("name", ""), "version": str(body.get("version", "0")), "status": "READY"}
        return _fill(response, {"model_version": version})
    return response


def _fill(response: Any, body: dict[str, Any]) -> Any:
    from mlflow.utils.proto_json_utils import parse_dict

    parse_dict(body, response)
    return response
