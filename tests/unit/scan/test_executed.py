"""Rules executed: what a rule says breaks works in the real old release and fails (or warns) in the real new one.

All snippets of one release run in one process. A call is bound to the real signature instead of run where running it
would need a model or a server.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache

import pytest

from liftlock.releases.children import clean_environment
from tests.support.releases import OLD, environment, newest
from tests.support.scan import findings

_RUNNER = """
import contextlib, inspect, json, sys, warnings
import mlflow
def bind(function, *args, **kwargs):
    function = inspect.unwrap(function)
    signature = inspect.signature(function)
    bound = signature.bind_partial(*args, **kwargs)
    for each in signature.parameters.values():
        if each.kind is each.VAR_KEYWORD and bound.arguments.get(each.name):
            raise TypeError(f"swallowed {list(bound.arguments[each.name])}")
outcomes = []
for snippet in json.load(sys.stdin):
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(sys.stderr):
        warnings.simplefilter("always")
        try:
            exec(snippet, {"bind": bind})
            outcome = "warns" if any("deprecated" in str(w.message).lower() for w in caught) else "works"
        except Exception as error:
            outcome = "fails"
            print(snippet, repr(error), file=sys.stderr)
    outcomes.append(outcome)
print(json.dumps(outcomes))
"""

# The snippet as a user writes it, the same as it is executed, and the code; all from 2.9.2 to the newest.
RULES = [
    ("import mlflow.gluon", "import mlflow.gluon", "LL102"),
    ("import mlflow.mleap", "import mlflow.mleap", "LL102"),
    ("import mlflow.diviner", "import mlflow.diviner", "LL102"),
    ("import mlflow.recipes", "import mlflow.recipes", "LL102"),
    ("import mlflow.llm", "import mlflow.llm", "LL102"),
    ("mlflow.entities.RunInfo.run_uuid", "mlflow.entities.RunInfo.run_uuid", "LL103"),
    ("mlflow.models.EvaluationResult.baseline_model_metrics",
     "mlflow.models.EvaluationResult.baseline_model_metrics", "LL103"),
    ("mlflow.models.MetricThreshold(threshold=1, higher_is_better=True)",
     "bind(mlflow.models.MetricThreshold, threshold=1, higher_is_better=True)", "LL201"),
    ("mlflow.models.evaluate(1, custom_metrics=[])", "bind(mlflow.models.evaluate, 1, custom_metrics=[])", "LL201"),
    ("mlflow.models.evaluate(1, baseline_model=1)", "bind(mlflow.models.evaluate, 1, baseline_model=1)", "LL201"),
    ("mlflow.models.evaluate(1, validation_thresholds=1)",
     "bind(mlflow.models.evaluate, 1, validation_thresholds=1)", "LL201"),
    ("mlflow.pyfunc.log_model(code_path=1)", "bind(mlflow.pyfunc.log_model, code_path=1)", "LL201"),
    ("mlflow.pyfunc.save_model('p', code_path=1)", "bind(mlflow.pyfunc.save_model, 'p', code_path=1)", "LL202"),
    ("mlflow.spark.save_model(1, 'p', sample_input=1)",
     "bind(mlflow.spark.save_model, 1, 'p', sample_input=1)", "LL202"),
    ("mlflow.pytorch.save_model(1, 'p', requirements_file=1)",
     "bind(mlflow.pytorch.save_model, 1, 'p', requirements_file=1)", "LL202"),
    ("mlflow.transformers.save_model(1, 'p', inference_config=1)",
     "bind(mlflow.transformers.save_model, 1, 'p', inference_config=1)", "LL202"),
    ("mlflow.models.build_docker(enable_mlserver=True)", "bind(mlflow.models.build_docker, enable_mlserver=True)",
     "LL201"),
    ("mlflow.types.ColSpec('string', optional=True)", "bind(mlflow.types.ColSpec, 'string', optional=True)", "LL201"),
]  # fmt: skip
FRIENDS = [
    ("mlflow.models.evaluate(1, extra_metrics=[])", "bind(mlflow.models.evaluate, 1, extra_metrics=[])"),
    ("mlflow.entities.RunInfo.run_id", "mlflow.entities.RunInfo.run_id"),
    ("mlflow.models.MetricThreshold(threshold=1, greater_is_better=True)",
     "bind(mlflow.models.MetricThreshold, threshold=1, greater_is_better=True)"),
    ("import mlflow.sklearn", "import mlflow.sklearn"),
    ("mlflow.MlflowClient().search_experiments", "mlflow.MlflowClient.search_experiments"),
]  # fmt: skip


@cache
def _outcomes(version: str) -> list[str]:
    snippets = ["import mlflow\n" + run for run in [*(rule[1] for rule in RULES), *(friend[1] for friend in FRIENDS)]]
    done = subprocess.run(
        [str(environment(version).python), "-c", _RUNNER], input=json.dumps(snippets), capture_output=True, text=True,
        timeout=300, env=clean_environment(), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    outcomes: list[str] = json.loads(done.stdout.splitlines()[-1])
    print(done.stderr[-6000:])
    return outcomes


@pytest.mark.release
@pytest.mark.parametrize("number", range(len(RULES)), ids=[rule[0] for rule in RULES])
def test_a_rule_is_true(number: int) -> None:
    written, _, code = RULES[number]
    assert code in {each.code for each in findings(f"import mlflow\n{written}\n", old=OLD, new=newest())}
    assert _outcomes(OLD)[number] in ("works", "warns")
    assert _outcomes(newest())[number] == "fails"


@pytest.mark.release
@pytest.mark.parametrize("number", range(len(FRIENDS)), ids=[friend[0] for friend in FRIENDS])
def test_a_friend_is_one(number: int) -> None:
    written, _ = FRIENDS[number]
    assert findings(f"import mlflow\n{written}\n", old=OLD, new=newest()) == ()
    assert _outcomes(OLD)[len(RULES) + number] == "works"
    assert _outcomes(newest())[len(RULES) + number] == "works"
