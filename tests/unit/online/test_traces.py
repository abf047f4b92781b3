"""Traces in their older form: as the revision's downgrade makes them, and to the letter where they say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liftlock.online.traces import COST_COLUMNS, TOKEN_COLUMNS, Tagged, legacy_rows, said_otherwise

NOTHING: dict[str, Tagged] = {
    "trace_tags": {}, "trace_request_metadata": {}, "trace_metrics": {}, "span_metrics": {}, "spans": {},
}  # fmt: skip


def trace(**given: Any) -> dict[str, Any]:
    columns = ("trace_name", "session_id", *TOKEN_COLUMNS, *COST_COLUMNS)
    return {"request_id": "t", **dict.fromkeys(columns), **given}


def span(**given: Any) -> dict[str, Any]:
    return {"trace_id": "t", "span_id": "s", **dict.fromkeys(("model_name", "model_provider", *COST_COLUMNS)), **given}


def test_everything_is_made_again_where_nothing_is_left() -> None:
    found = legacy_rows(
        [trace(trace_name="n", session_id="s", input_tokens=3, total_tokens=5, total_cost=0.5)],
        [span(model_name="m", model_provider="p", input_cost=0.25)], NOTHING,
    )  # fmt: skip
    assert found["trace_tags"] == {("t", "mlflow.traceName"): "n"}
    assert found["trace_request_metadata"] == {
        ("t", "mlflow.trace.session"): "s",
        ("t", "mlflow.trace.tokenUsage"): '{"input_tokens": 3, "total_tokens": 5}',
        ("t", "mlflow.trace.cost"): '{"total_cost": 0.5}',
    }
    assert found["trace_metrics"] == {("t", "input_tokens"): 3.0, ("t", "total_tokens"): 5.0}
    assert found["spans"] == {("t", "s"): '{"mlflow.llm.model": "m", "mlflow.llm.provider": "p"}'}
    assert found["span_metrics"] == {("t", "s", "input_cost"): 0.25}


def test_text_values_are_understood_as_postgresql_gives_them() -> None:
    found = legacy_rows([trace(input_tokens="3", total_cost="0.5")], [], NOTHING)
    assert json.loads(found["trace_request_metadata"]["t", "mlflow.trace.tokenUsage"]) == {"input_tokens": 3}
    assert found["trace_metrics"] == {("t", "input_tokens"): "3"}


def test_nothing_comes_of_nothing() -> None:
    found = legacy_rows([trace()], [span()], NOTHING)
    assert found == {**NOTHING, "spans": {("t", "s"): None}}


OLD: dict[str, Tagged] = {
    "trace_tags": {("t", "mlflow.traceName"): "n" * 5000},
    "trace_request_metadata": {
        ("t", "mlflow.trace.session"): "s" * 300,
        ("t", "mlflow.trace.tokenUsage"): '{"total_tokens":5,"input_tokens":3,"x":1}',
        ("t", "mlflow.trace.cost"): '{"currency":"EUR", "total_cost":0.5}',
    },
    "trace_metrics": {},
    "span_metrics": {("t", "s", "input_cost"): 0.25},
    "spans": {("t", "s"): '{"mlflow.llm.provider":"p","mlflow.llm.model":"m"}'},
}  # fmt: skip
NOW = trace(trace_name="n" * 4096, session_id="s" * 250, input_tokens=3, total_tokens=5, total_cost=0.5)
SPAN = span(model_name="m", model_provider="p", input_cost=0.25)


def test_what_says_the_same_is_kept_to_the_letter() -> None:
    found = legacy_rows([NOW], [SPAN], OLD)
    assert found == OLD


@pytest.mark.parametrize(("column", "value", "table", "key"), [
    ("trace_name", "other", "trace_tags", ("t", "mlflow.traceName")),
    ("session_id", "other", "trace_request_metadata", ("t", "mlflow.trace.session")),
    ("input_tokens", 4, "trace_request_metadata", ("t", "mlflow.trace.tokenUsage")),
    ("output_tokens", 1, "trace_metrics", ("t", "output_tokens")),
    ("total_cost", 0.75, "trace_request_metadata", ("t", "mlflow.trace.cost")),
])  # fmt: skip
def test_what_changed_is_said_anew(column: str, value: Any, table: str, key: tuple[Any, ...]) -> None:
    found = legacy_rows([{**NOW, column: value}], [SPAN], OLD)
    assert found[table].get(key) != OLD[table].get(key)
    assert str(value) in str(found[table][key])


def test_what_was_taken_away_goes() -> None:
    found = legacy_rows([{**NOW, "trace_name": None, "session_id": None}], [span()], OLD)
    assert found["trace_tags"] == {}
    assert ("t", "mlflow.trace.session") not in found["trace_request_metadata"]
    assert found["span_metrics"] == {}
    assert found["spans"] == {("t", "s"): None}


def test_the_sum_that_a_gateway_trace_got_from_its_spans_is_not_a_cost_of_its_own() -> None:
    old = {**NOTHING, "trace_request_metadata": {("t", "mlflow.gateway.endpointId"): "e"}}
    summed = legacy_rows([trace(total_cost=0.30000000000000004)], [span(total_cost=0.3)], old)
    assert summed["trace_request_metadata"] == {}
    # Somebody gave it another cost since.
    given = legacy_rows([trace(total_cost=0.4)], [span(total_cost=0.3)], old)
    assert given["trace_request_metadata"] == {("t", "mlflow.trace.cost"): '{"total_cost": 0.4}'}


@pytest.mark.parametrize("broken", ["not json", "[1]", "null", None, ""])
def test_broken_old_values_count_as_none(broken: Any) -> None:
    old = {
        **NOTHING,
        "trace_request_metadata": {("t", "mlflow.trace.tokenUsage"): broken, ("t", "mlflow.trace.cost"): broken},
    }
    found = legacy_rows([trace(input_tokens=1, input_cost=1.0)], [], old)
    assert json.loads(found["trace_request_metadata"]["t", "mlflow.trace.tokenUsage"]) == {"input_tokens": 1}
    assert json.loads(found["trace_request_metadata"]["t", "mlflow.trace.cost"]) == {"input_cost": 1.0}


def test_what_an_older_schema_cannot_say_beside_a_span_is_not_counted_as_said() -> None:
    assert said_otherwise("spans", {"spans": ("trace_id",)}) == frozenset()
    assert said_otherwise("spans", {"spans": ("trace_id",), "span_metrics": ()}) == frozenset(COST_COLUMNS)
    known = said_otherwise("spans", {"spans": ("dimension_attributes",), "span_metrics": ()})
    assert known == {*COST_COLUMNS, "model_name", "model_provider"}
    assert "trace_name" in said_otherwise("trace_info", {})
    assert said_otherwise("runs", {}) == frozenset()
