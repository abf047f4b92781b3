"""A server without a backend store uses SQLite instead of ./mlruns."""

from __future__ import annotations

from liftlock.scan.model import Code, Verdict
from liftlock.scan.rules.base import Command, Rule


def _command(command: Command) -> int | None:
    given = command.given("--backend-store-uri", "--file-store", "--help")
    return 0 if command.whole and not given else None


RULE = Rule(
    code=Code(
        code="LL802", title="The default store is SQLite", before="mlflow ui --port 5000",
        after="mlflow ui --port 5000 --backend-store-uri sqlite:///mlflow.db",
        text="Without a backend store `mlflow server` and `mlflow ui` showed ./mlruns; now mlflow.db, "
        "or refuse to start where ./mlruns holds experiments (from 3.13.0).",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="default store", answered=("MLFLOW_BACKEND_STORE_URI",),
    commands=frozenset({"server", "ui"}), command=_command,
)  # fmt: skip
