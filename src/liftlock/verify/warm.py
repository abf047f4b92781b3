"""Wake a server up before people are sent to it: the first calls to each of its workers take a second or more.

Reads, and writes to a run that does not exist, which the server refuses after it did most of what a write needs.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from liftlock.errors import ServerError
from liftlock.model.secret import Secret
from liftlock.verify.http import Client

_API = "/api/2.0/mlflow"
_NOBODY = "0" * 32
_CALLS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "/experiments/search", {"max_results": 1}),
    ("POST", "/runs/search", {"experiment_ids": ["0"], "max_results": 1}),
    ("GET", "/registered-models/search", {"max_results": 1}),
    ("GET", "/runs/get", {"run_id": _NOBODY}),
    ("POST", "/runs/create", {"experiment_id": "999999999"}),
    ("POST", "/runs/log-metric", {"run_id": _NOBODY, "key": "warm", "value": 0, "timestamp": 0}),
    ("POST", "/runs/log-batch", {"run_id": _NOBODY, "metrics": [{"key": "warm", "value": 0, "timestamp": 0}]}),
    ("POST", "/runs/set-tag", {"run_id": _NOBODY, "key": "warm", "value": ""}),
    ("POST", "/runs/update", {"run_id": _NOBODY, "status": "FINISHED"}),
)
_EACH = 3
"""Connections for each worker: the system spreads them as it likes."""


def warm(url: str, *, workers: int, login: tuple[str, Secret] | None) -> int:
    """Call the server at `url` over several connections at once; how many calls were answered. Nothing is written."""

    def one(_: int) -> int:
        client, answered = Client(url, login=login, timeout=30.0), 0
        for method, path, body in _CALLS:
            with suppress(ServerError):
                client.ask(method, _API + path, body)
                answered += 1
        return answered

    with ThreadPoolExecutor(_EACH * workers) as pool:
        return sum(pool.map(one, range(_EACH * workers)))
