"""Are there rows that would make a migration give up?"""

from __future__ import annotations

import json
from typing import Any

from liftlock.assess.check import Check, DoesNotApply, target_of
from liftlock.assess.facts import Facts, NotKnown
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding
from liftlock.stores.interface import Store

_REVISION = "75868b020152"
_ALLOWED = frozenset({"mlflow.llm.model", "mlflow.llm.provider"})
_SHOWN = 3


class NoAbortingRows(Check):
    """No row makes revision 75868b020152 (trace analytics, MLflow 3.17) raise instead of migrating.

    It gives up on spans and assessments whose trace does not exist, and on `spans.dimension_attributes` that is no
    JSON object or has other content than a model and a provider. Read from the migration's own source.
    """

    code = "LLC009"
    title = "No rows that abort the migration"

    def answer(self, facts: Facts) -> Finding:
        """Fail with how many rows of which kind, and examples."""
        target_of(facts)
        if _REVISION not in facts.to_run(Role.TRACKING):
            raise DoesNotApply(f"{_REVISION} is not among the revisions to run")
        store = facts.stores.get(Role.TRACKING)
        if store is None:
            raise NotKnown("the tracking store cannot be opened")
        columns = store.columns()
        if "trace_info" not in columns:
            return self.passed("there are no traces")
        wrong: list[str] = []
        detail: dict[str, str | int | float | bool | None] = {}
        for table in ("spans", "assessments"):
            if table in columns:
                count, example = _orphans(store, table)
                detail[f"orphan {table}"] = count
                if count:
                    wrong.append(f"{count} {table} without their trace (such as {example})")
        if "dimension_attributes" in columns.get("spans", ()):
            count, examples = _bad_attributes(store)
            detail["bad dimension_attributes"] = count
            if count:
                wrong.append(f"{count} spans with unusable dimension_attributes (such as {'; '.join(examples)})")
        if wrong:
            return self.failed(
                "; ".join(wrong), "Delete or correct these rows in the old server's database first.", **detail
            )
        return self.passed("none found", **detail)


def _orphans(store: Store, table: str) -> tuple[int, str]:
    query = (
        f"SELECT count(*) AS number, min(c.trace_id) AS example FROM {table} c"
        " LEFT JOIN trace_info t ON t.request_id = c.trace_id WHERE t.request_id IS NULL"
    )
    row = next(iter(store.rows(query)))
    return int(row["number"]), str(row["example"])


def _bad_attributes(store: Store) -> tuple[int, list[str]]:
    query = "SELECT trace_id, span_id, dimension_attributes FROM spans WHERE dimension_attributes IS NOT NULL"
    count, examples = 0, list[str]()
    for row in store.rows(query):
        if why := _reject(row["dimension_attributes"]):
            count += 1
            if len(examples) < _SHOWN:
                examples.append(f"{row['trace_id']}/{row['span_id']}: {why}")
    return count, examples


def _reject(value: Any) -> str:
    """Why the migration would raise for this value, or an empty text."""
    if isinstance(value, str | bytes):
        try:
            value = json.loads(value)
        except ValueError:
            return "no JSON"
    if value is None:
        return ""
    if not isinstance(value, dict):
        return f"a {type(value).__name__} instead of an object"
    unexpected = sorted(set(value) - _ALLOWED)
    if unexpected:
        return f"key {unexpected[0]}"
    no_text = sorted(key for key, entry in value.items() if entry is not None and not isinstance(entry, str))
    return f"{no_text[0]} is no text" if no_text else ""
