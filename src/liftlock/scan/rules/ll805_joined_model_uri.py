"""A model is no longer among the artifacts of its run."""

from __future__ import annotations

import ast

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import PythonCall, Rule, Seen

_PLACES = {
    "load_model": ("model_uri", 0), "register_model": ("model_uri", 0), "get_model_info": ("model_uri", 0),
    "create_model_version": ("source", 1), "spark_udf": ("model_uri", 1),
    "evaluate": ("model", 0),
}  # fmt: skip


def _call(call: PythonCall) -> Seen | None:
    argument = call.argument(*_PLACES[call.name])
    if not call.path or argument is None:
        return None
    for node in call.inside(argument):
        joined = isinstance(node, ast.Attribute) and node.attr == "artifact_uri"
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            joined = name == "get_artifact_uri" and bool(node.args or node.keywords)
        if joined:
            return argument, Confidence.LIKELY
    return None


RULE = Rule(
    code=Code(
        code="LL805", title="A model's place is made from the run's artifact URI",
        before='mlflow.pyfunc.load_model(f"{run.info.artifact_uri}/model")',
        after='mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model")',
        text="What log_model stores is no longer below the run's artifacts, so the place does not exist: "
        "`No such artifact: 'model'`. It is right for a model that was put there by log_artifacts.",
    ),
    verdict=Verdict.BREAKS, symbol="artifact_uri of a model", functions=frozenset(_PLACES), call=_call,
)  # fmt: skip
