"""Was a migration interrupted here before?"""

from __future__ import annotations

from liftlock.assess.check import Check
from liftlock.assess.facts import Facts, Unknown
from liftlock.model.deployment import Role, StoreFacts
from liftlock.model.finding import Finding

# Table -> the revision of the tracking chain that creates it (MLflow 2.9.2 to 3.18.0).
_CREATED_BY = {
    "trace_info": "867495a8f9d4", "trace_tags": "867495a8f9d4", "trace_request_metadata": "867495a8f9d4",
    "logged_models": "400f98739977", "logged_model_metrics": "400f98739977", "logged_model_params": "400f98739977",
    "logged_model_tags": "400f98739977", "assessments": "770bee3ae1dd", "spans": "a1b2c3d4e5f6",
    "entity_associations": "de4033877273", "webhooks": "1a0cddfcaa16", "webhook_events": "1a0cddfcaa16",
    "scorers": "534353b11cbc", "scorer_versions": "534353b11cbc", "evaluation_datasets": "71994744cf8e",
    "evaluation_dataset_tags": "71994744cf8e", "evaluation_dataset_records": "71994744cf8e", "jobs": "bf29a5ff90ea",
    "secrets": "1bd49d398cd23", "endpoints": "1bd49d398cd23", "model_definitions": "1bd49d398cd23",
    "endpoint_model_mappings": "1bd49d398cd23", "endpoint_bindings": "1bd49d398cd23", "endpoint_tags": "1bd49d398cd23",
    "trace_metrics": "b7c8d9e0f1a2", "online_scoring_configs": "2c33131f4dae", "span_metrics": "c8d9e0f1a2b3",
    "workspaces": "1b5f0d9ad7c1", "budget_policies": "e1f2a3b4c5d6", "issues": "76601a5f987d",
    "guardrails": "ae8bbe7743c9", "guardrail_configs": "ae8bbe7743c9", "label_schemas": "89d3d66ed43f",
    "review_queues": "b7e4c1a90f23", "mcp_servers": "a8b9c0d1e2f3", "scheduler_leases": "dc11669786a5",
    "job_locks": "dc11669786a5", "skills": "e7d1f4b2a9c6", "issue_categories": "8b6ad64cb8f5",
}  # fmt: skip


class NoHalfDoneMigration(Check):
    """No `_alembic_tmp_*` table and no table of a later revision is left from an interrupted migration.

    On SQLite a migration is not one transaction: killed in the middle it leaves tables that make the next attempt
    fail with "table already exists". Alembic's downgrade leaves such tables too.
    """

    code = "LLC008"
    title = "No half-done migration"

    def answer(self, facts: Facts) -> Finding:
        """Fail with the tables that are in the way."""
        wrong = []
        for store in facts.known_stores():
            names = {table.name for table in store.tables}
            wrong += [f"{name} in the {store.role} store" for name in sorted(names) if name.startswith("_alembic_tmp_")]
            wrong += [f"{name} in the {store.role} store" for name in _later(facts, store, names)]
        if wrong:
            return self.failed(
                f"left over or foreign: {', '.join(wrong)}",
                "Compare with a backup. A table named _alembic_tmp_X holds copies of rows of X: once X is complete,"
                " drop it. A table of a later revision must be dropped or renamed before the migration.",
            )
        for role in facts.store_facts:
            facts.store(role)
        return self.passed()


def _later(facts: Facts, store: StoreFacts, names: set[str]) -> list[str]:
    """Tables that only a revision after the current one creates, by the longest chain we know."""
    if store.role is Role.AUTH or store.revision is None:
        return []
    heads = [facts.target.heads if facts.target else Unknown(""), facts.running_heads]
    chains = [found.chain(store.role) for found in heads if not isinstance(found, Unknown)]
    chain = next((chain for chain in chains if store.revision in chain), None)
    if chain is None:
        return []
    done = set(chain[: chain.index(store.revision) + 1])
    return [name for name in sorted(names) if name in _CREATED_BY and _CREATED_BY[name] not in done]
