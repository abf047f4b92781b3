"""Samples over REST: everything seen before must be seen after, and alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from liftlock.errors import ServerError
from liftlock.model.finding import Outcome
from liftlock.verify.http import Client
from liftlock.verify.sample import RestSample, compare_samples, take_sample

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


class _Server(Client):
    """Plays a server that knows these runs, each with one file."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs

    def json(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        if path.endswith("artifacts/list"):
            return {"files": [{"path": "x", "file_size": 1}]}
        return {
            "experiments": [{"experiment_id": "0", "name": "Default", "lifecycle_stage": "active"}],
            "runs": self.runs,
        }

    def get(self, path: str, parameters: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        return 200, b"x"


def test_a_run_that_goes_on_is_not_compared() -> None:
    """Applications log on while the server is upgraded: what they write to is no proof of anything."""
    ended = {"info": {"run_id": "r1", "status": "FINISHED"}}
    going_on = {"info": {"run_id": "r2", "status": "RUNNING"}}
    logged = {"info": {"run_id": "r2", "status": "FINISHED"}, "data": {"tags": [{"key": "a", "value": "b"}]}}
    before, after = take_sample(_Server([ended, going_on])), take_sample(_Server([ended, logged]))
    assert set(before.runs) == {"r1"} and set(before.artifacts) == {"r1/x"}
    assert all(each.outcome is not Outcome.FAIL for each in compare_samples(before, after))


def test_a_dead_server_is_one_line() -> None:
    with pytest.raises(ServerError, match="does not answer") as caught:
        Client("http://127.0.0.1:9", timeout=2).get("/health")
    assert "\n" not in caught.value.message
