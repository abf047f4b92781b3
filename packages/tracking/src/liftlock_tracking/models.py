"""Logged models and traces (MLflow 3): creations answered with ids of ours while the server is away."""

from __future__ import annotations

import base64
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Optional

from liftlock_tracking.settings import SWITCHES

if TYPE_CHECKING:
    from liftlock_tracking.runtime import Runtime

_MODEL = "model:"


def handle(runtime: Runtime, name: str, api: Any, method: str, endpoint: str, body: dict[str, Any]) -> Any:
    """The answer to a call about a logged model or trace that we can give ourselves; None for any other call."""
    if name == "StartTraceV3":
        return _start_trace(runtime, api, method, endpoint, body)
    if name == "StartTrace":
        return _start_trace_v2(runtime, api, body)
    if name == "EndTrace":
        return _end_trace_v2(runtime, api, method, endpoint, body)
    if name == "CreateLoggedModel":
        return _create(runtime, api, body)
    if name in ("FinalizeLoggedModel", "GetLoggedModel", "SetLoggedModelTags"):
        return _about_model(runtime, name, api, method, endpoint, body)
    return None


def off(api: Any, name: str, body: dict[str, Any]) -> Any:
    """An answer that fits while tracking is off: what was asked for seems to be there, and nothing was done."""
    response = api.Response()
    if name == "CreateLoggedModel":
        return _parse(response, {"model": _model(f"lo{uuid.uuid4().hex[2:]}", body)})
    if name in ("FinalizeLoggedModel", "GetLoggedModel"):
        return _parse(response, {"model": _model(body.get("model_id", "lo"), body)})
    if name == "StartTraceV3":
        return _parse(response, {"trace": body.get("trace", {})})
    if name in ("StartTrace", "EndTrace"):
        return _parse(response, {"trace_info": _trace_v2(body.get("request_id") or f"lo{uuid.uuid4().hex[2:]}", body)})
    return response


def _create(runtime: Runtime, api: Any, body: dict[str, Any]) -> Any:
    began = time.monotonic()
    prov = "lt" + uuid.uuid4().hex[2:]
    if not body.get("name"):
        from liftlock_tracking.entities import random_name

        body["name"] = random_name()
    position = runtime.append({"k": "model", "p": prov, "body": body}, urgent=True)
    model = _model(prov, body)
    if runtime.wait_born(position, began):
        bound = runtime.state.bound(prov)
        if bound and bound[0]:
            model = bound[1]["model"]
    runtime.experiments[_MODEL + model["info"]["model_id"]] = model
    return _parse(api.Response(), {"model": model})


def _about_model(runtime: Runtime, name: str, api: Any, method: str, endpoint: str, body: dict[str, Any]) -> Any:
    found = next((k for k in runtime.experiments if k.startswith(_MODEL) and k[len(_MODEL) :] in endpoint), None)
    known = runtime.experiments.get(found or "")
    if name == "GetLoggedModel":
        # Only a model the server does not know yet is answered here.
        if known is None or runtime.real_id(known["info"]["model_id"]):
            return None
        return _parse(api.Response(), {"model": known})
    if name == "FinalizeLoggedModel" and known is None:
        return None
    runtime.append({"k": "call", "api": name, "m": method, "e": endpoint, "r": "", "body": body})
    if known is not None and "status" in body:
        known["info"] = {**known["info"], "status": body["status"]}
    return _parse(api.Response(), {"model": known}) if name == "FinalizeLoggedModel" else api.Response()


def _model(prov: str, body: dict[str, Any]) -> dict[str, Any]:
    now = int(time.time() * 1000)
    info = {
        "model_id": prov, "experiment_id": str(body.get("experiment_id", "0")), "name": body.get("name", ""),
        "creation_timestamp_ms": now, "last_updated_timestamp_ms": now, "status": body.get("status", "LOGGED_MODEL_PENDING"),
        "artifact_uri": f"liftlock-artifacts:/model/{prov}", "tags": body.get("tags", []),
        "model_type": body.get("model_type", ""), "source_run_id": body.get("source_run_id", ""),
    }  # fmt: skip
    return {"info": info, "data": {"params": body.get("params", []), "metrics": []}}


def _start_trace(runtime: Runtime, api: Any, method: str, endpoint: str, body: dict[str, Any]) -> Any:
    trace = body.get("trace", {})
    if not SWITCHES.tracing():
        return _parse(api.Response(), {"trace": trace})
    described = trace.get("trace_info", {})
    trace_id = described.get("trace_id", "")
    runtime.append(
        {"k": "call", "api": "StartTraceV3", "m": method, "e": endpoint, "r": "", "body": body, "trace": trace_id}
    )
    tags = {**described.get("tags", {}), "mlflow.artifactLocation": f"liftlock-artifacts:/trace/{trace_id}"}
    return _parse(api.Response(), {"trace": {**trace, "trace_info": {**described, "tags": tags}}})


def _start_trace_v2(runtime: Runtime, api: Any, body: dict[str, Any]) -> Any:
    """Releases 2.14 to 3.1 ask for a trace's id when it begins: it gets one of ours at once."""
    prov = f"lt{uuid.uuid4().hex[2:]}"
    if SWITCHES.tracing():
        runtime.append({"k": "trace", "p": prov, "body": body})
    return _parse(api.Response(), {"trace_info": _trace_v2(prov, body)})


def _end_trace_v2(runtime: Runtime, api: Any, method: str, endpoint: str, body: dict[str, Any]) -> Any:
    if SWITCHES.tracing():
        runtime.append({"k": "call", "api": "EndTrace", "m": method, "e": endpoint, "r": "", "body": body})
    return _parse(api.Response(), {"trace_info": _trace_v2(str(body.get("request_id", "")), body)})


def _trace_v2(prov: str, body: dict[str, Any]) -> dict[str, Any]:
    place = {"key": "mlflow.artifactLocation", "value": f"liftlock-artifacts:/trace/{prov}"}
    return {
        "request_id": prov, "experiment_id": str(body.get("experiment_id", "0")),
        "timestamp_ms": body.get("timestamp_ms", 0), "status": body.get("status", "IN_PROGRESS"),
        "request_metadata": body.get("request_metadata", []), "tags": [*body.get("tags", []), place],
    }  # fmt: skip


def spans_call(location: str, spans: Any) -> Optional[dict[str, Any]]:
    """Finished spans as one spooled call in OpenTelemetry's own format; None if this release has no such thing."""
    release = sys.modules.get("mlflow.store.tracking.rest_store")
    names = ("ExportTraceServiceRequest", "OTLP_TRACES_PATH", "MLFLOW_EXPERIMENT_ID_HEADER")
    if release is None or not all(hasattr(release, n) for n in names):
        return None
    request = release.ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    if hasattr(release, "resource_to_otel_proto"):
        resource = getattr(spans[0]._span, "resource", None)
        resource_spans.resource.CopyFrom(release.resource_to_otel_proto(resource))
    convert = "to_otel_proto" if hasattr(spans[0], "to_otel_proto") else "_to_otel_proto"
    if not hasattr(spans[0], convert):
        return None
    resource_spans.scope_spans.add().spans.extend(getattr(s, convert)() for s in spans)
    return {
        "k": "otlp",
        "e": release.OTLP_TRACES_PATH,
        "headers": {"Content-Type": "application/x-protobuf", release.MLFLOW_EXPERIMENT_ID_HEADER: str(location)},
        "data": base64.b64encode(request.SerializeToString()).decode(),
    }


def _parse(response: Any, body: dict[str, Any]) -> Any:
    from mlflow.utils.proto_json_utils import parse_dict

    parse_dict(body, response)
    return response
