"""MLflow's entities made and checked with the release's own code, so that every release gets its own kind."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.protos import service_pb2
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.utils import validation
from mlflow.utils.proto_json_utils import parse_dict

from liftlock_tracking.wire import number

if TYPE_CHECKING:
    from liftlock_tracking.views import RunView


def run(view: RunView) -> Any:
    """A Run entity from what is known about it."""
    message = service_pb2.Run()
    parse_dict(
        {
            "info": view.info,
            "data": {
                "params": [{"key": k, "value": v} for k, v in view.params.items()],
                "tags": [{"key": k, "value": v} for k, v in view.tags.items()],
                "metrics": [
                    {"key": k, "value": number(v), "timestamp": t, "step": s} for k, (v, t, s) in view.metrics.items()
                ],
            },
        },
        message,
    )
    return Run.from_proto(message)


def experiment(body: dict[str, Any]) -> Any:
    """An Experiment entity from what is known about it."""
    message = service_pb2.Experiment()
    parse_dict({k: v for k, v in body.items() if v is not None}, message)
    return Experiment.from_proto(message)


def point(metric: Any) -> Any:
    """A metric as the spool keeps it: key, value, time (ms), step, and what newer releases add."""
    step = metric.step or 0
    extra = _extra(metric)
    base = (metric.key, metric.value, metric.timestamp, step)
    return (*base, extra) if extra else base


def _extra(metric: Any) -> dict[str, Any]:
    found = {}
    for name in ("model_id", "dataset_name", "dataset_digest"):
        value = getattr(metric, name, None)
        if value is not None:
            found[name] = value
    return found


@lru_cache(maxsize=4096)
def _metric_name(name: str) -> None:
    validation._validate_metric_name(name)


def check_metric(metric: Any) -> None:
    """Raise MLflow's own error for a point the server would refuse. (Names are checked once each.)"""
    if (
        type(metric.value) is float
        and type(metric.timestamp) is int
        and type(metric.step) is int
        and metric.timestamp >= 0
    ):
        try:
            _metric_name(metric.key)
            return
        except TypeError:
            pass  # not hashable: let the release say what is wrong
    validation._validate_metric(metric.key, metric.value, metric.timestamp, metric.step)


def check_param(param: Any) -> None:
    """Raise MLflow's own error for a parameter the server would refuse."""
    validation._validate_param(param.key, str(param.value))


def check_tag(tag: Any) -> None:
    """Raise MLflow's own error for a tag the server would refuse."""
    validation._validate_tag(tag.key, str(tag.value))


def check_batch(metrics: Any, params: Any, tags: Any) -> None:
    """Raise MLflow's own error for a batch the server would refuse."""
    for metric in metrics:
        check_metric(metric)
    # The release's own check of points is slow, and done above.
    validation._validate_batch_log_data([], params, tags)
    validation._validate_batch_log_limits(metrics, params, tags)


def param_changed(run_id: str, key: str, before: str, now: str) -> MlflowException:
    """The error for a second value of one parameter, which the server refuses."""
    return MlflowException(
        f"Changing param values is not allowed. Param with key='{key}' was already logged with value='{before}'"
        f" for run ID='{run_id}'. Attempted logging new value '{now}'.",
        INVALID_PARAMETER_VALUE,
    )


def random_name() -> str:
    """A run name as the server would make one up."""
    from mlflow.utils.name_utils import _generate_random_name

    return str(_generate_random_name())
