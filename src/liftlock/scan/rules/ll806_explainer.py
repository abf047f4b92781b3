"""evaluate() no longer logs the explainer."""

from __future__ import annotations

import ast

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import PythonCall, Rule, Seen

_KEYS = ("log_explainer", "log_model_explainability")
_PATHS = ("mlflow.evaluate", "mlflow.models.evaluate")


def _call(call: PythonCall) -> Seen | None:
    kind = call.argument("model_type", -1)
    if call.path not in _PATHS or not call.whole or kind is None or call.text(kind) not in ("classifier", "regressor"):
        return None
    config = call.keywords.get("evaluator_config")
    if config is None:
        return None, Confidence.LIKELY
    found = [node for node in call.inside(config) if isinstance(node, ast.Dict)]
    if not found:
        return None  # what it says cannot be seen
    keys = {key.value for each in found for key in each.keys if isinstance(key, ast.Constant)}
    return None if keys & set(_KEYS) else (None, Confidence.LIKELY)


RULE = Rule(
    code=Code(
        code="LL806", title="The explainer is not logged unless asked",
        before='mlflow.models.evaluate(m, d, targets="y", model_type="classifier")',
        after='mlflow.models.evaluate(m, d, targets="y", model_type="classifier", '
        'evaluator_config={"log_explainer": True})',
        text="The model `explainer` is no longer among what the default evaluator logs for classifiers and regressors.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="explainer", functions=frozenset({"evaluate"}), call=_call,
)  # fmt: skip
