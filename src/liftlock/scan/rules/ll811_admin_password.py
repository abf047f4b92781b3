"""A server with basic-auth has no password of its own any more."""

from __future__ import annotations

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import Command, Rule


def _command(command: Command) -> int | None:
    value, number = command.options.get("--app-name", (None, 0))
    return number if value == "basic-auth" else None


RULE = Rule(
    code=Code(
        code="LL811", title="No default administrator password", before="mlflow server --app-name basic-auth",
        after="MLFLOW_AUTH_ADMIN_PASSWORD=... mlflow server --app-name basic-auth",
        text="On an empty user store the server refuses to start without a password. Stores that have users keep them.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="basic-auth", answered=("MLFLOW_AUTH_ADMIN_PASSWORD", "admin_password"),
    commands=frozenset({"server"}), command=_command, command_confidence=Confidence.LIKELY,
)  # fmt: skip
