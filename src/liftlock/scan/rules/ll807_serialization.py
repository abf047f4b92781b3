"""scikit-learn and PyTorch models are saved in other formats."""

from __future__ import annotations

from liftlock.scan.model import Code, Confidence, Verdict
from liftlock.scan.rules.base import PythonCall, Rule, Seen

_NAMES = frozenset({"log_model", "save_model"})
_PATHS = frozenset(f"mlflow.{flavor}.{name}" for flavor in ("sklearn", "pytorch") for name in _NAMES)


def _call(call: PythonCall) -> Seen | None:
    if call.path not in _PATHS or not call.whole or "serialization_format" in call.keywords:
        return None
    return None, Confidence.LIKELY


RULE = Rule(
    code=Code(
        code="LL807", title="Models are saved in another format", before="mlflow.sklearn.log_model(model, name='m')",
        after="mlflow.sklearn.log_model(model, name='m', serialization_format='cloudpickle')",
        text="Without serialization_format scikit-learn models become model.skops instead of model.pkl, and PyTorch "
        "models pt2: programs that open the files, and older releases, do not read them.",
    ),
    verdict=Verdict.BEHAVIOUR, symbol="serialization_format", functions=_NAMES,
    call=_call,
)  # fmt: skip
