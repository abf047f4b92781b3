"""A tracking server played by a table of answers, in place of the wire."""

from __future__ import annotations

from typing import Any

from liftlock_tracking.wire import Reply, Wire


class Server(Wire):
    """Plays the wire: keeps what it was sent; `answers` may hold a function of the request."""

    def __init__(self) -> None:
        super().__init__(lambda: None, timeout=1.0)
        self.sent: list[tuple[str, str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.answer: Any = None

    def call(self, method: str, endpoint: str, body: Any = None, **_: Any) -> Any:
        name = endpoint.rsplit("mlflow/", 1)[-1]
        self.sent.append((method, name, body))
        if self.answer is not None:
            made = self.answer(name, body)
            if made is not None:
                return made
        return self.do(name, body)

    def do(self, name: str, body: Any) -> Any:
        if name == "runs/create":
            info = {
                "run_id": f"{len(self.runs):032x}",
                "artifact_uri": "mlflow-artifacts:/x",
                "lifecycle_stage": "active",
            }
            self.runs.append({"info": info, "tags": body["tags"]})
            return Reply({"run": self.runs[-1]})
        if name == "runs/search":
            wanted = body["filter"].split("'")[1]
            return Reply({"runs": [r for r in self.runs if any(t["value"] == wanted for t in r["tags"])]})
        if name == "runs/delete":
            next(r for r in self.runs if r["info"]["run_id"] == body["run_id"])["info"]["lifecycle_stage"] = "deleted"
        if name == "experiments/get-by-name":
            return Reply({"experiment": {"experiment_id": "7", "name": body["experiment_name"]}})
        return Reply({})

    def names(self) -> list[str]:
        return [name for _, name, _ in self.sent]
