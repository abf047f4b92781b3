"""One request to the server and what became of it, through the release's own HTTP layer (its authentication,
TLS and proxy settings apply), without its minutes of retries: when to try again is decided here."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, Callable, Optional

API = "/api/2.0/mlflow/"


@dataclass(frozen=True)
class Reply:
    """The server did what it was asked."""

    body: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """The server understood and will never do it; `code` is MLflow's error code."""

    code: str
    reason: str
    status: int


@dataclass(frozen=True)
class Away:
    """No answer that settles the matter: down, hanging, cut, overloaded, or turned away at the door.

    `reached` tells whether the request may have had its effect all the same; `busy` that a server which is
    otherwise up answered 500 to this very request.
    """

    reason: str
    reached: bool = True
    busy: bool = False


class Unreachable(Exception):
    """Raised by the shipper's steps to end a window early; carries the Away."""

    def __init__(self, away: Away) -> None:
        super().__init__(away.reason)
        self.away = away


class Lost(Exception):
    """A call refers to something whose creation the server refused."""


class Wire:
    """Requests to one server. `creds` is asked for every request, as the release's own store does."""

    def __init__(self, creds: Callable[[], Any], timeout: float) -> None:
        self._creds = creds
        self.timeout = timeout
        self.requests = 0

    def call(self, method: str, endpoint: str, body: Optional[dict[str, Any]] = None, **extra: Any) -> Any:
        """Send once. Returns Reply, Refused or Away; never raises for what the network or the server does."""
        if body is not None:
            extra["params" if method == "GET" else "json"] = body
        try:
            response = self.raw(method, endpoint, **extra)
        except Exception as problem:  # noqa: BLE001 - whatever the HTTP layer raises means: no answer
            text = str(problem)
            refused = "NewConnectionError" in text or "Connection refused" in text or "NameResolution" in text
            return Away(_short(text), reached=not refused)
        return judge(response.status_code, response.text, endpoint)

    def raw(self, method: str, endpoint: str, timeout: Optional[float] = None, **extra: Any) -> Any:
        """Send once and return the release's response object; raises what the HTTP layer raises."""
        from mlflow.utils.rest_utils import http_request

        self.requests += 1
        return http_request(
            self._creds(),
            endpoint,
            method,
            max_retries=0,
            timeout=self.timeout if timeout is None else timeout,
            raise_on_status=False,
            **extra,
        )


def credentials(uri: str) -> Any:
    """The release's own credentials for a server (environment, credential file, plugins)."""
    try:
        from mlflow.utils.credentials import get_default_host_creds
    except ImportError:
        from mlflow.tracking._tracking_service.utils import _get_default_host_creds as get_default_host_creds
    return get_default_host_creds(uri)


def judge(status: int, text: str, endpoint: str) -> Any:
    """What an HTTP answer means for a call that must not be lost."""
    body = _object(text)
    if status == 200:
        if body is None and endpoint.startswith("/api/") and text.strip():
            return Away(f"{endpoint}: an answer that is not MLflow's: {_short(text)}")
        return Reply(body or {})
    if 200 < status < 300:
        return Reply(body or {})
    code = str(body.get("error_code", "")) if body else ""
    message = str(body.get("message", "")) if body else text
    reason = f"{status} {code}: {_short(message)}"
    if status in (401, 403, 407):
        # Not the call's fault: it is kept until the door opens again.
        return Away(f"the server turned us away ({reason})", reached=False)
    if status in (400, 404, 409, 413, 422, 501) and (body is not None or status in (413, 501)):
        return Refused(code or str(status), reason, status)
    if status == 500 and code:
        return Away(reason, busy=True)
    return Away(reason)


def number(value: Any) -> Any:
    """A double as MLflow's JSON wants it."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def _object(text: str) -> Optional[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:300] + "..."
