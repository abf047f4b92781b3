"""Models are served and asked in an environment that virtualenv makes instead of Conda."""

from __future__ import annotations

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import Command, Rule


def _command(command: Command) -> int | None:
    chosen = command.given("--env-manager", "--no-conda", "--help")
    return 0 if command.whole and not chosen else None


RULE = Rule(
    code=Code(
        code="LL810", title="Models run in a virtualenv", before="mlflow models serve -m models:/m/1",
        after="mlflow models serve -m models:/m/1 --env-manager conda",
        text="Without --env-manager the environment of a model was made by Conda; now virtualenv and pyenv make it, "
        "which have to be installed. A project that names its environment keeps the manager of that.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="env_manager", command_confidence=Confidence.LIKELY,
    commands=frozenset({"models serve", "models predict", "models prepare-env", "models build-docker"}),
    command=_command,
)  # fmt: skip
