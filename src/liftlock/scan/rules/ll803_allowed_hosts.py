"""A server that others reach answers 403 to names it was not told."""

from __future__ import annotations

import re

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import Command, Rule

_PUBLIC = re.compile(r"0\.0\.0\.0|\[?::\]?")


def _command(command: Command) -> int | None:
    value, number = command.options.get("--host", command.options.get("-h", (None, 0)))
    public = value is not None and _PUBLIC.fullmatch(value) is not None
    given = command.given("--allowed-hosts", "--disable-security-middleware")
    return number if public and command.whole and not given else None


RULE = Rule(
    code=Code(
        code="LL803", title="Requests need an allowed Host", before="mlflow server --host 0.0.0.0",
        after="mlflow server --host 0.0.0.0 --allowed-hosts mlflow.example.com",
        text="A server that listens for others answers 403 unless the Host header is localhost, a private address or "
        "in --allowed-hosts. /health and /version answer all the same, so a probe does not show it.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="Host header", command_confidence=Confidence.LIKELY,
    answered=("MLFLOW_SERVER_ALLOWED_HOSTS", "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"),
    commands=frozenset({"server", "ui"}), command=_command,
)  # fmt: skip
