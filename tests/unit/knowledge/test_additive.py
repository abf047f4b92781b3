"""Held against the experiment with live old servers on a migrated database (SQLite, real releases): 1.30 to 3.6 went on
with runs and registry, 3.10 and 3.16 failed with traces once 75868b020152 had run.
"""

from __future__ import annotations

import pytest

from liftlock.knowledge import additive
from liftlock.knowledge.revisions import known
from liftlock.model.deployment import Role

CHAIN = known(Role.TRACKING)
CLASSIC = ("experiments", "runs", "metrics", "params", "tags", "registered_models", "model_versions", "inputs")
TRACES = ("trace_info", "trace_tags", "trace_request_metadata", "spans", "assessments")


def between(old: str, new: str) -> tuple[str, ...]:
    return CHAIN[CHAIN.index(old) + 1 : CHAIN.index(new) + 1]


@pytest.mark.parametrize(
    ("old", "new", "tables", "stopped_by"),
    [
        ("acf3f17fdcc7", "dc11669786a5", CLASSIC, ()),  # 2.9.2 to 3.17.2
        ("da6fb0208061", "b7e2c1a4d9f3", (*CLASSIC, *TRACES, "jobs"), ()),  # 3.13 to 3.16.1
        ("71994744cf8e", "bf29a5ff90ea", (*CLASSIC, *TRACES), ()),  # 3.4.0 to 3.6.0
        ("71994744cf8e", "dc11669786a5", (*CLASSIC, *TRACES), ("75868b020152",)),  # 3.4.0 to 3.17.2
        ("b7e2c1a4d9f3", "dc11669786a5", (*CLASSIC, *TRACES, "jobs"), ("75868b020152", "dc11669786a5")),
        ("bf29a5ff90ea", "da6fb0208061", (*CLASSIC, *TRACES, "jobs"), ("5d2d30f0abce",)),  # jobs: a column is renamed
    ],
)
def test_what_keeps_an_old_release_from_living_on(
    old: str, new: str, tables: tuple[str, ...], stopped_by: tuple[str, ...]
) -> None:
    found = additive.obstacles(Role.TRACKING, between(old, new), tables)
    assert [each.split()[1] for each in found] == list(stopped_by)


def test_a_revision_that_nobody_ran_is_in_the_way() -> None:
    assert additive.obstacles(Role.TRACKING, ["ffffffffffff"], CLASSIC) == (
        "revision ffffffffffff was never recorded, so nobody knows what it does",
    )
