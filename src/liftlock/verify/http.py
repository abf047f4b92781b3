"""A small HTTP client for a tracking server: JSON in and out, basic auth, a Host header of choice, deadlines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import urllib3

from liftlock.errors import ServerError
from liftlock.model.secret import Secret


class Client:
    """Calls one server directly (never through a proxy of the environment). Raises ServerError."""

    def __init__(
        self, url: str, *, login: tuple[str, Secret] | None = None, host: str | None = None, timeout: float = 60.0
    ) -> None:
        self.url = url.rstrip("/")
        headers: dict[str, str] = {"User-Agent": "liftlock"}
        if login is not None:
            headers |= urllib3.make_headers(basic_auth=f"{login[0]}:{login[1].reveal()}")
        if host is not None:
            headers["Host"] = host
        self._headers = headers
        self._pool = urllib3.PoolManager(timeout=urllib3.Timeout(timeout), retries=False)

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """GET a path below the server's URL: status and body."""
        return self._call("GET", path, parameters=parameters)

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, bytes]:
        """Call an API endpoint, whatever it answers: status and body."""
        parameters = {str(k): str(v) for k, v in (body or {}).items()} if method == "GET" else None
        return self._call(method, path, parameters=parameters, body=None if method == "GET" else body or {})

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Call an API endpoint and return its JSON. A status other than 200 is a ServerError with the server's word."""
        status, raw = self.ask(method, path, body)
        if status != 200:
            raise ServerError(f"{method} {path} answered {status}: {_word(raw)}")
        try:
            return json.loads(raw or b"{}")
        except ValueError:
            raise ServerError(f"{method} {path} answered something that is not JSON") from None

    def _call(
        self,
        method: str,
        path: str,
        *,
        parameters: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> tuple[int, bytes]:
        try:
            answer = self._pool.request(
                method,
                self.url + path,
                fields=dict(parameters) if parameters else None,
                json=body,
                headers=self._headers if body is None else {**self._headers, "Content-Type": "application/json"},
            )
        except urllib3.exceptions.HTTPError as error:
            raise ServerError(
                f"{self.url} does not answer: {type(error).__name__}", hint="Is the server running?", retryable=True
            ) from error
        return answer.status, answer.data


def _word(raw: bytes) -> str:
    try:
        data = json.loads(raw)
        return str(data.get("message", data))[:200]
    except (ValueError, AttributeError):
        return raw[:200].decode("utf-8", "replace").strip()
