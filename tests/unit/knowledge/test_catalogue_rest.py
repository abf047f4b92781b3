"""What endpoints take and answer, and what they lose from release to release."""

from __future__ import annotations

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_diff import What, diff
from liftlock.knowledge.catalogue_rest import Fields, detail, fields, lost
from liftlock.model.release import Release

OLD, NEW = "rpc A.B(x, y) -> z", "rpc A.B(y, w) -> z, v"


def test_fields_are_read_from_the_catalogues_value() -> None:
    assert fields(OLD) == Fields(takes=frozenset("xy"), gives=frozenset("z"))
    assert fields("rpc A.B()") == Fields(takes=frozenset(), gives=frozenset())
    assert [fields(each) for each in ("flask", "table", "rpc A.B", "")] == [None] * 4


def test_what_is_lost_and_what_is_new() -> None:
    assert lost(OLD, NEW) == "no longer takes x"
    assert lost(NEW, OLD) == "no longer takes w; no longer answers v"
    assert lost(OLD, OLD) == ""
    assert lost(OLD, "flask") is None
    assert detail(OLD, NEW) == "no longer takes x; takes w; answers v"
    assert detail("flask", NEW) == ""


@pytest.mark.parametrize(
    ("old", "new", "key", "says"),
    [
        # MLflow's own release notes: 2.0 dropped the runs, 3.0 logs metrics to models and datasets.
        ("1.30.1", "2.0.1", "GET /api/2.0/mlflow/experiments/get", "no longer answers runs"),
        ("2.9.2", "3.0.1", "POST /api/2.0/mlflow/runs/log-metric", "takes dataset_digest, dataset_name, model_id"),
    ],
)
def test_known_changes(old: str, new: str, key: str, says: str) -> None:
    found = diff(load(), Release.parse(old), Release.parse(new)).of("rest")
    (change,) = [each for each in found if each.key == key]
    assert (change.what, change.detail, change.breaks) == (What.CHANGED, says, False)
