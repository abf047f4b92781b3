"""Stops, features and behaviours: curated rows are held against the catalogue, and bad files name what is wrong."""

from __future__ import annotations

import pytest

from liftlock.errors import UsageError
from liftlock.knowledge import behaviours, features, stops
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.features import Feature
from liftlock.model.release import Release
from tests.support.plans import deployment

STOP = """
format = 1
[[stop]]
at = "2.22.5"
from = "<2.0"
to = ">=3.2"
reason = "because"
source = "seen"
"""


def release(text: str) -> Release:
    return Release.parse(text)


def test_no_stop_is_real_today_and_each_shipped_one_would_name_releases() -> None:
    known = load()
    for stop in stops.load():
        known.require(stop.release)
    assert stops.between(release("1.0.0"), known.newest) == ()


def test_a_stop_holds_for_the_jumps_it_names_and_no_others() -> None:
    table = stops.parse(STOP, "mine.toml")
    assert [each.at for each in stops.between(release("1.30.1"), release("3.4.0"), table)] == ["2.22.5"]
    for source, target in (("2.0.1", "3.4.0"), ("1.30.1", "3.0.1"), ("1.30.1", "2.9.2"), ("2.22.5", "3.4.0")):
        assert stops.between(release(source), release(target), table) == ()


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('reason = "because"', 'reason = " "', "no reason"),
        ('source = "seen"', "", "source"),
        ('from = "<2.0"', 'from = "older"', "older"),
        ('at = "2.22.5"', 'at = "soon"', "not a version"),
        ("format = 1", "format = 1\nunheard = 2", "unheard"),
    ],
)
def test_a_malformed_stop_is_refused(old: str, new: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        stops.parse(STOP.replace(old, new), "mine.toml")


@pytest.mark.parametrize("entry", features.load(), ids=lambda entry: f"{entry.since}-{entry.evidence[1]}")
def test_a_feature_appears_first_in_its_release(entry: Feature) -> None:
    known = load()
    section, key = entry.evidence
    first = known.number(entry.release)
    assert known.coded(section).fact(key, first) is not None, "is not in its release"
    assert known.coded(section).fact(key, first - 1) is None, "was there before"


def test_features_go_by_use() -> None:
    old, new = release("2.9.2"), release("3.17.2")
    used = features.uses_of(deployment({"runs": 5, "trace_info": 1}, auth=True))
    assert {name for name, held in used.items() if held} == {"runs", "traces", "basic-auth", "artifact-proxy"}
    found = {each.since for each in features.between(old, new, used)}
    assert {"3.12.0", "3.13.0"} <= found
    assert not {each.since for each in features.between(old, new, {})}
    assert "2.9.0" not in found, "it is there already"
    with pytest.raises(UsageError, match="is not explained"):
        features.parse('format = 1\nuses = {}\n[[feature]]\nsince="1.0"\ntitle="t"\nhow="h"\nuses=["x"]\nsource="s"\n'
                       'evidence=["a","b"]\n', "f.toml")  # fmt: skip


def test_a_behaviour_is_spared_by_facts_only() -> None:
    found = {each.title: each for each in behaviours.load()}
    telemetry = next(each for title, each in found.items() if title.startswith("telemetry"))
    assert telemetry.spared({}, ()) == ""
    assert telemetry.spared({}, {"MLFLOW_DISABLE_TELEMETRY"}) == "settled here by MLFLOW_DISABLE_TELEMETRY"
    roles = next(each for title, each in found.items() if title.startswith("permissions of the basic-auth"))
    assert roles.spared({"basic-auth": True}, ()) == ""
    assert roles.spared({}, ()) == "", "not known is no reason to leave it out"
    assert roles.spared({"basic-auth": False}, ()).startswith("does not apply")
