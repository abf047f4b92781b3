"""Which rows belong together when a migration computes some from others: everything that hangs on one root row.

A family is closed over foreign keys: if a migration reads or deletes a row because of another one, both are in one
family and under one root. `tests/upgrade/test_commuting.py` proves it against the migrations themselves.
"""

from __future__ import annotations

from collections.abc import Mapping

from liftlock.model.codec import Value
from liftlock.stores.live import Shape


class Family(Value, frozen=True):
    """`members` maps a table to its column that holds the id of the root; `root` is the table of the roots.

    Members may be missing in an older schema, or only be made by the migration.
    """

    name: str
    root: str
    members: dict[str, str]

    def within(self, shapes: Mapping[str, Shape]) -> dict[str, str]:
        """The members that a schema has."""
        return {table: column for table, column in self.members.items() if table in shapes}


TRACE = Family(
    name="trace", root="trace_info",
    members={
        "trace_info": "request_id", "trace_tags": "request_id", "trace_request_metadata": "request_id",
        "trace_metrics": "request_id", "spans": "trace_id", "span_metrics": "trace_id", "assessments": "trace_id",
    },
)  # fmt: skip

JOB = Family(name="job", root="jobs", members={"jobs": "id"})

ISSUE = Family(name="issue", root="issues", members={"issues": "issue_id", "issue_categories": "issue_id"})

FAMILIES: Mapping[str, Family] = {family.name: family for family in (TRACE, JOB, ISSUE)}
