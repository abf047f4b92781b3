"""A tracking or registry store in plain files is refused."""

from __future__ import annotations

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import Command, PythonCall, Rule, Seen
from liftlock.scan.rules.stores import in_files

_PARAMETERS = {
    "set_tracking_uri": (("uri", 0),), "set_registry_uri": (("uri", 0),),
    "MlflowClient": (("tracking_uri", 0), ("registry_uri", 1)), "MLFlowLogger": (("tracking_uri", -1),),
}  # fmt: skip
_OPTIONS = ("--backend-store-uri", "--registry-store-uri")


def _call(call: PythonCall) -> Seen | None:
    for name, place in _PARAMETERS[call.name]:
        argument = call.argument(name, place)
        texts = call.texts(argument) if argument is not None else ()
        sure = next((sure for text in texts if (sure := in_files(text)) is not None), None)
        if sure is not None:
            only = argument is not None and call.text(argument) is not None and len(texts) == 1
            return argument, sure if call.path and only else Confidence.LIKELY
    return None


def _command(command: Command) -> int | None:
    for option in _OPTIONS:
        value, number = command.options.get(option, (None, 0))
        if value and in_files(value) is not None:
            return number
    return None


RULE = Rule(
    code=Code(
        code="LL801", title="A file store is refused", before='mlflow.set_tracking_uri("file:./mlruns")',
        after='mlflow.set_tracking_uri("sqlite:///mlflow.db")',
        text="Tracking and registry stores in plain files raise an error unless MLFLOW_ALLOW_FILE_STORE=true. "
        "`mlflow migrate-filestore` copies one into SQLite.",
    ),
    verdict=Verdict.BREAKS, symbol="file store", answered=("MLFLOW_ALLOW_FILE_STORE",),
    functions=frozenset(_PARAMETERS), call=_call,
    commands=frozenset({"server", "ui", "gc"}), command=_command,
    variables=frozenset({
        "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "MLFLOW_BACKEND_STORE_URI", "MLFLOW_REGISTRY_STORE_URI",
    }),
    value=in_files,
)  # fmt: skip
