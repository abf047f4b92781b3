"""The model registry store: calls need the server's answer (version numbers), so they wait, but never long."""

from __future__ import annotations

import json
import uuid
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Optional

from liftlock_tracking import asking
from liftlock_tracking.creations import SPOOL_TAG, find_version, source_parts
from liftlock_tracking.files import SCHEME
from liftlock_tracking.runtime import Runtime, runtime_for
from liftlock_tracking.settings import OFF_URI, SWITCHES
from liftlock_tracking.wire import credentials

NOT_YET = "0"


def build(store_uri: str, _tracking_uri: Optional[str] = None) -> Any:
    """A registry store for the URI."""
    return _registry_class()(None if store_uri.startswith(OFF_URI) else runtime_for(store_uri))


if TYPE_CHECKING:
    from mlflow.store.model_registry.rest_store import RestStore
else:
    # The release's own store is mixed in by `_registry_class`, when it is needed.
    RestStore = object


@lru_cache(maxsize=1)
def _registry_class() -> type:
    from mlflow.store.model_registry.rest_store import RestStore

    return type("LiftlockRegistry", (BoundedRegistry, RestStore), {"__module__": __name__})


class BoundedRegistry(RestStore):
    """Mixed in before the release's registry RestStore by `_registry_class`."""

    def __init__(self, runtime: Optional[Runtime]) -> None:
        super().__init__(partial(credentials, runtime.settings.uri if runtime else "http://off.invalid"))
        self._runtime = runtime

    def _call_endpoint(
        self, api: Any, json_body: Any, call_all_endpoints: bool = False, extra_headers: Any = None, **_: Any
    ) -> Any:
        """Every registry call ends here: asked within the read bound, or refused clearly."""
        name = api.DESCRIPTOR.name
        body = json.loads(json_body) if json_body else {}
        response = self._get_response_from_method(api)
        runtime = self._runtime
        if runtime is None or not SWITCHES.tracking():
            return _pretend(response, name, body)
        if body.get("version") == NOT_YET:
            return _about_a_later_one(runtime, response, name, body)
        if name == "CreateModelVersion":
            body["tags"] = [*body.get("tags", []), {"key": SPOOL_TAG, "value": f"lt{uuid.uuid4().hex[2:]}"}]
        sent = False
        try:
            asking.ready(runtime)
            asked = dict(body)
            if name == "CreateModelVersion":
                asked["source"] = _real_source(runtime, body.get("source", ""))
            if call_all_endpoints:
                endpoint, method = self._get_all_endpoints_from_method(api)[0]
            else:
                endpoint, method = self._get_endpoint_from_method(api)
            extra = {"extra_headers": extra_headers} if extra_headers else {}
            sent = True
            return asking.ask(runtime, method, endpoint, asked, response, **extra)
        except asking.ServerAway:
            if runtime.settings.registry == "later" and name in ("CreateRegisteredModel", "CreateModelVersion"):
                return _later(runtime, response, name, body)
            if sent and name == "CreateModelVersion" and (made := _made_after_all(runtime, body)) is not None:
                return _fill(response, {"model_version": made})
            raise


def _made_after_all(runtime: Runtime, body: dict[str, Any]) -> Optional[dict[str, Any]]:
    """The version, if it was made although its answer was lost: found by the tag only this call sent."""
    version = find_version(partial(runtime.wire.call, timeout=runtime.settings.read_bound), body)
    if version is not None:
        runtime.breaker.answered()
    return version


def _later(runtime: Runtime, response: Any, name: str, body: dict[str, Any]) -> Any:
    """Keep a registration until the server is back. A version gets its number then: until then it is number 0."""
    if name == "CreateRegisteredModel":
        endpoint = "/api/2.0/mlflow/registered-models/create"
        runtime.append({"k": "call", "api": name, "m": "POST", "e": endpoint, "r": "", "body": body})
        return _fill(response, {"registered_model": body})
    prov = body["tags"][-1]["value"]
    # It may have been sent: what the server made of it is looked for before it is sent again.
    asking.quietly(runtime.state.sending, prov)
    runtime.append({"k": "version", "p": prov, "r": body.get("run_id", ""), "body": body})
    message = "kept by liftlock-tracking; the server numbers it when it is back"
    version = {**body, "version": NOT_YET, "status": "READY", "status_message": message}
    runtime.experiments[f"version:{body['name']}"] = version
    return _fill(response, {"model_version": version})


def _about_a_later_one(runtime: Runtime, response: Any, name: str, body: dict[str, Any]) -> Any:
    """Only that it is there can be said of a version whose number is not known; nothing can be done to it."""
    known = runtime.experiments.get(f"version:{body.get('name')}")
    if name == "GetModelVersion" and known is not None:
        return _fill(response, {"model_version": known})
    raise asking.away(f"{name} for version {NOT_YET}", "its number is not known yet; use the tag liftlock.spool_id")


def _real_source(runtime: Runtime, source: str) -> str:
    """A model's source as the server knows it: an artifact place of ours becomes the real one."""
    if not source.startswith(SCHEME):
        return source
    prov, rest = source_parts(source)
    bound = runtime.state.bound(prov)
    if not bound or not bound[0]:
        raise asking.away(f"the registration of {source}", "its run is not shipped yet")
    return str(bound[1].get("artifact_uri", "")).rstrip("/") + rest


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
