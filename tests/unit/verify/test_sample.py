"""Samples over REST: everything seen before must be seen after, and alike."""

from __future__ import annotations

import msgspec
import pytest

from liftlock.errors import ServerError
from liftlock.model.finding import Outcome
from liftlock.verify.http import Client
from liftlock.verify.sample import RestSample, compare_samples

SAMPLE = RestSample(
    experiments={"0": "Default (active)"},
    runs={"r1": "aa", "r2": "bb"},
    models={"m": "latest 1"},
    artifacts={"r1/x": "cc"},
)
KINDS = ("experiments", "runs", "models", "artifacts")


def test_equal_and_grown_samples_pass() -> None:
    assert all(each.outcome is Outcome.PASS for each in compare_samples(SAMPLE, SAMPLE))
    more = msgspec.structs.replace(SAMPLE, runs={**SAMPLE.runs, "r3": "dd"})
    assert all(each.outcome is Outcome.PASS for each in compare_samples(SAMPLE, more))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", ["lost", "different"])
def test_each_difference_fails_its_kind_alone(kind: str, change: str) -> None:
    content = dict(getattr(SAMPLE, kind))
    name = next(iter(content))
    if change == "lost":
        del content[name]
    else:
        content[name] += "!"
    found = compare_samples(SAMPLE, msgspec.structs.replace(SAMPLE, **{kind: content}))
    failed = [each for each in found if each.outcome is Outcome.FAIL]
    assert len(failed) == 1
    assert name in failed[0].message
    assert KINDS.index(kind) == found.index(failed[0])


def test_nothing_to_compare_is_said() -> None:
    empty = RestSample(experiments={}, runs={}, models={}, artifacts={})
    assert all(each.outcome is Outcome.SKIPPED for each in compare_samples(empty, SAMPLE))


def test_a_dead_server_is_one_line() -> None:
    with pytest.raises(ServerError, match="does not answer") as caught:
        Client("http://127.0.0.1:9", timeout=2).get("/health")
    assert "\n" not in caught.value.message
