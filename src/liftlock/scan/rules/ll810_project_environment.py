"""Projects build their environment with virtualenv instead of Conda."""

from __future__ import annotations

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import Command, PythonCall, Rule, Seen


def _call(call: PythonCall) -> Seen | None:
    if call.path not in ("mlflow.run", "mlflow.projects.run") or not call.whole:
        return None
    chosen = {"env_manager", "use_conda", "backend"} & set(call.keywords)
    return None if chosen else (None, Confidence.LIKELY)


def _command(command: Command) -> int | None:
    chosen = command.given("--env-manager", "--no-conda", "--backend", "-b", "--help")
    return 0 if command.whole and not chosen else None


RULE = Rule(
    code=Code(
        code="LL810", title="Projects run in a virtualenv", before="mlflow run . -P alpha=1",
        after="mlflow run . -P alpha=1 --env-manager conda",
        text="Without --env-manager a project's environment was made by Conda; now virtualenv and pyenv make it.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="env_manager", command_confidence=Confidence.LIKELY,
    functions=frozenset({"run"}), call=_call, commands=frozenset({"run"}), command=_command,
)  # fmt: skip
