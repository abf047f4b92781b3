"""Calls that need the server's answer: bounded in time, sent once, with ids the server knows."""

from __future__ import annotations

import json
import sqlite3
import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from liftlock_tracking.replay import PROVISIONAL
from liftlock_tracking.wire import Away, judge

if TYPE_CHECKING:
    from liftlock_tracking.runtime import Runtime


class ServerAway(MlflowException):
    """The tracking server did not answer within the bound, and nothing here knows the answer."""


def away(what: str, reason: str) -> ServerAway:
    """The error for a question that cannot be answered now."""
    return ServerAway(
        f"The tracking server is away, so {what} cannot be answered now ({reason}). Logged calls are kept and shipped later.",
        error_code=TEMPORARILY_UNAVAILABLE,
    )


def ready(runtime: Runtime) -> None:
    """Before asking: ship what this process logged, within the read bound. Raises ServerAway if it is known to be away."""
    if runtime.breaker.open:
        raise away("this", runtime.breaker.reason)
    runtime.flush(runtime.settings.read_bound)


def route(store: Any, api: Any, endpoint: Optional[str]) -> tuple[str, str]:
    """Where the release sends this call, and with which method."""
    if api in getattr(store, "_V3_APIS", ()):
        info = store._V3_METHOD_TO_INFO
    else:
        info = getattr(store, "_METHOD_TO_INFO", None)
        if info is None:
            info = sys.modules[store._release.__module__]._METHOD_TO_INFO
    known, method = info[api]
    return endpoint or known, method


def ask(runtime: Runtime, method: str, endpoint: str, body: dict[str, Any], response: Any, **extra: Any) -> Any:
    """Send once within the read bound and parse the answer as the release does. Raises as the release does, or ServerAway."""
    from mlflow.utils.proto_json_utils import parse_dict
    from mlflow.utils.rest_utils import verify_rest_response

    if runtime.breaker.open:
        raise away(endpoint, runtime.breaker.reason)
    body = with_real_ids(runtime, body)
    endpoint = with_real_ids(runtime, endpoint)
    extra["params" if method == "GET" else "json"] = body
    try:
        reply = runtime.wire.raw(method, endpoint, timeout=runtime.settings.read_bound, **extra)
    except Exception as problem:
        # Whatever the HTTP layer raises means: no answer.
        runtime.away(f"{endpoint}: {problem}"[:300])
        raise away(endpoint, str(problem)[:300]) from problem
    verdict = judge(reply.status_code, reply.text, endpoint)
    if isinstance(verdict, Away) and not verdict.busy and reply.status_code not in (401, 403, 500):
        runtime.away(verdict.reason)
        raise away(endpoint, verdict.reason)
    verified = verify_rest_response(reply, endpoint)
    parse_dict(js_dict=json.loads(verified.text or "{}"), message=response)
    return response


def with_real_ids(runtime: Runtime, value: Any) -> Any:
    """The same with every provisional id this spool has learnt the real one of replaced."""
    text = json.dumps(value)
    if "lt" not in text and "lx" not in text:
        return value
    return json.loads(PROVISIONAL.sub(lambda m: runtime.real_id(m.group()) or m.group(), text))


def quietly(call: Callable[..., Any], *values: Any) -> Any:
    """Call something that only makes life easier; None if its file cannot be used."""
    try:
        return call(*values)
    except (sqlite3.Error, OSError):
        return None
