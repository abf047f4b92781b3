"""Traces as they were before revision 75868b020152, made again from the columns it put them into.

The rules are those of the revision's own downgrade (MLflow 3.17.2): names become a tag, sessions, tokens and costs
metadata, metrics and attributes. Where the old database still has rows that say the same, they are kept to the letter:
JSON may be written in several ways, and a trace that nobody changed must come back as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

NAME = "mlflow.traceName"
SESSION = "mlflow.trace.session"
TOKENS = "mlflow.trace.tokenUsage"
COST = "mlflow.trace.cost"
GATEWAY = "mlflow.gateway.endpointId"
MODEL, PROVIDER = "mlflow.llm.model", "mlflow.llm.provider"
TOKEN_COLUMNS = (
    "input_tokens", "output_tokens", "total_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
    "cache_creation_input_tokens_above_1hr",
)  # fmt: skip
COST_COLUMNS = ("input_cost", "output_cost", "total_cost")
# Longer ones were cut off on the way up.
_LIMITS = {NAME: 4096, SESSION: 250, MODEL: 500, PROVIDER: 500}
_BIGINT = 2**63

Tagged = dict[tuple[Any, ...], Any]
"""Key of a row -> its one value column: (trace, key) or (trace, span, key)."""


def said_otherwise(table: str, blue: Mapping[str, Collection[str]]) -> frozenset[str]:
    """The analytics columns of a table that an older schema (table -> columns) says in rows beside it."""
    spans = {*COST_COLUMNS} if "span_metrics" in blue else set()
    if "dimension_attributes" in blue.get("spans", ()):
        spans |= {"model_name", "model_provider"}
    return {
        "trace_info": frozenset({"trace_name", "session_id", *TOKEN_COLUMNS, *COST_COLUMNS}),
        "spans": frozenset(spans),
        "assessments": frozenset({"experiment_id", "trace_timestamp_ms", "aggregate_value", "is_numeric_value"}),
    }.get(table, frozenset())


def legacy_rows(
    traces: Iterable[Mapping[str, Any]], spans: Iterable[Mapping[str, Any]], old: Mapping[str, Tagged]
) -> dict[str, Tagged]:
    """The rows that the revision took away, by table, for traces and spans given as column -> value of the new schema.

    `old` has what the old database holds now of the same tables and traces, and of `spans.dimension_attributes` under
    the name `spans`.
    """
    tags: Tagged = {}
    metadata: Tagged = {}
    metrics: Tagged = {}
    attributes: Tagged = {}
    span_metrics: Tagged = {}
    sums: dict[Any, float] = {}
    for span in spans:
        where = (span["trace_id"], span["span_id"])
        attributes[where] = _attributes(span, old["spans"].get(where))
        costs = _numbers(span, COST_COLUMNS)
        before = {key[2]: value for key, value in old["span_metrics"].items() if key[:2] == where}
        known = {key: value for key, value in before.items() if key in COST_COLUMNS}
        same = {key: _finite(value) for key, value in known.items()} == {
            key: float(value) for key, value in costs.items()
        }
        span_metrics.update({(*where, key): value for key, value in (known if same else costs).items()})
        if "total_cost" in costs:
            sums[where[0]] = sums.get(where[0], 0.0) + float(costs["total_cost"])
    for trace in traces:
        root = trace["request_id"]
        _text(tags, old["trace_tags"], (root, NAME), trace["trace_name"])
        _text(metadata, old["trace_request_metadata"], (root, SESSION), trace["session_id"])
        _tokens(metadata, metrics, old, root, _numbers(trace, TOKEN_COLUMNS))
        _cost(metadata, old, root, _numbers(trace, COST_COLUMNS), sums.get(root))
    return {
        "trace_tags": tags, "trace_request_metadata": metadata, "trace_metrics": metrics, "spans": attributes,
        "span_metrics": span_metrics,
    }  # fmt: skip


def _text(into: Tagged, old: Tagged, key: tuple[Any, ...], value: Any) -> None:
    if value is not None:
        before = old.get(key)
        into[key] = before if isinstance(before, str) and before[: _LIMITS[key[-1]]] == value else value


def _tokens(metadata: Tagged, metrics: Tagged, old: Mapping[str, Tagged], root: Any, tokens: dict[str, Any]) -> None:
    usage = old["trace_request_metadata"].get((root, TOKENS))
    rows = {key: old["trace_metrics"][root, key] for key in TOKEN_COLUMNS if (root, key) in old["trace_metrics"]}
    promoted = {key: _count(rows.get(key, _object(usage).get(key))) for key in TOKEN_COLUMNS}
    if {key: value for key, value in promoted.items() if value is not None} == {k: int(v) for k, v in tokens.items()}:
        if usage is not None:
            metadata[root, TOKENS] = usage
        metrics.update({(root, key): value for key, value in rows.items()})
    elif tokens:
        metadata[root, TOKENS] = json.dumps({key: int(value) for key, value in tokens.items()})
        metrics.update({(root, key): _double(value) for key, value in tokens.items()})


def _cost(
    metadata: Tagged, old: Mapping[str, Tagged], root: Any, costs: dict[str, Any], of_spans: float | None
) -> None:
    before = old["trace_request_metadata"].get((root, COST))
    promoted = {key: value for key in COST_COLUMNS if (value := _finite(_object(before).get(key))) is not None}
    now = {key: float(value) for key, value in costs.items()}
    gateway = (root, GATEWAY) in old["trace_request_metadata"]
    if gateway and "total_cost" not in promoted and of_spans is not None:
        # The revision fills this one from the spans; the old release does it when asked.
        total = now.get("total_cost")
        if total is not None and math.isclose(total, of_spans, rel_tol=1e-9):
            now.pop("total_cost")
    if promoted == now:
        if before is not None:
            metadata[root, COST] = before
    elif costs:
        metadata[root, COST] = json.dumps(now)


def _attributes(span: Mapping[str, Any], before: Any) -> Any:
    known = _object(before)
    now = {key: span[column] for key, column in ((MODEL, "model_name"), (PROVIDER, "model_provider"))
           if span[column] is not None}  # fmt: skip
    cut = {key: value[: _LIMITS[key]] for key, value in known.items() if isinstance(value, str) and key in _LIMITS}
    if cut == now:
        return before
    return json.dumps(now) if now else None


def _double(value: Any) -> Any:
    """As a column of doubles holds it: SQLite gives floats back, PostgreSQL's text is the same for both."""
    return float(value) if isinstance(value, int) else value


def _numbers(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    return {column: row[column] for column in columns if row[column] is not None}


def _object(value: Any) -> dict[str, Any]:
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _finite(value: Any) -> float | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _count(value: Any) -> int | None:
    if value is None or isinstance(value, bool):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, TypeError, ValueError):
        return None
    whole = number.is_finite() and number == number.to_integral_value() and -_BIGINT <= number < _BIGINT
    return int(number) if whole else None
