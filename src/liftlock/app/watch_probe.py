"""Requests of liftlock's own: a server's health, and a few questions that change nothing, where nobody else asks."""

from __future__ import annotations

import json

from liftlock import clock
from liftlock.errors import LiftlockError
from liftlock.verify.http import Client
from liftlock.verify.traffic import Tally

OWN = "liftlock: "
_EXPERIMENTS = "/api/2.0/mlflow/experiments/search"
_RUNS = "/api/2.0/mlflow/runs/search"
_MODELS = "/api/2.0/mlflow/registered-models/search"


def health(client: Client) -> str:
    """What is wrong with the server's health; empty when `/health` answers 200."""
    try:
        status, _ = client.get("/health")
    except LiftlockError as error:
        return error.message
    return "" if status == 200 else f"/health answered {status}"


class Prober:
    """Asks a server for experiments, runs and models, and counts the answers as requests of endpoints of their own."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._experiments = ["0"]

    def round(self, tally: Tally) -> None:
        """One question of each kind. Never raises; no answer is a failed request."""
        answer = self._ask(tally, "POST", _EXPERIMENTS, {"max_results": 5})
        if answer:
            self._experiments = [each["experiment_id"] for each in answer.get("experiments", ())] or ["0"]
        self._ask(tally, "POST", _RUNS, {"experiment_ids": self._experiments, "max_results": 5})
        self._ask(tally, "GET", _MODELS, {"max_results": "5"})

    def _ask(self, tally: Tally, verb: str, path: str, body: dict[str, object]) -> dict[str, list[dict[str, str]]]:
        at, began = clock.now(), clock.monotonic()
        try:
            status, raw = self._client.ask(verb, path, body)
        except LiftlockError:
            status, raw = 499, b""
        us = int((clock.monotonic() - began) * 1e6)
        tally.add(f"{OWN}{verb} {path}", status, us, int(at.timestamp() * 1000))
        try:
            return dict(json.loads(raw)) if status == 200 else {}
        except ValueError:
            return {}
