"""A second server gets a share of the reads: evenly, reads alone, and never at the cost of a failed request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from liftlock.gate.model import Address, GateError
from tests.support.gate import LOG_METRIC, SEARCH, GateProcess, Raw, Recorder, recorded


@dataclass
class Two:
    gate: GateProcess
    first: Recorder
    second: Recorder

    def ask(self, path: str, times: int) -> list[int]:
        """Statuses of requests over one connection."""
        statuses = []
        with Raw(self.gate.port) as raw:
            for _ in range(times):
                raw.post("{}", path=path)
                statuses.append(raw.answer()[0])
        return statuses


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with recorded(tmp_path / "gate") as (gate, first), Recorder("second") as second:
        yield Two(gate, first, second)


@pytest.mark.parametrize(("percent", "there"), [(1, 1), (10, 10), (50, 50), (100, 100)])
def test_as_many_reads_as_was_said_and_no_write(two: Two, percent: int, there: int) -> None:
    with two.gate.client() as client:
        client.share(two.second.address, percent)
        assert set(two.ask(SEARCH, 100)) == {200}
        assert set(two.ask(LOG_METRIC, 20)) == {200}
        share = client.counts().share
    assert len(two.second.received) == there
    assert {each.target for each in two.second.received} == {SEARCH}
    assert len(two.first.received) == 120 - there
    assert share is not None
    assert (share.percent, share.answered, share.failed, share.others) == (percent, there, 0, 100 - there)


def test_a_second_server_that_dies_costs_nobody_an_answer(two: Two) -> None:
    with two.gate.client() as client:
        client.share(two.second.address, 50)
        assert set(two.ask(SEARCH, 4)) == {200}
        assert len(two.second.received) == 2
        two.second.__exit__(None, None, None)
        assert set(two.ask(SEARCH, 40)) == {200}
        share = client.counts().share
        assert share is not None
        assert share.failed >= 19 and share.others + share.answered == 44


def test_it_ends_when_it_is_told_and_with_a_switch(two: Two) -> None:
    with two.gate.client() as client:
        client.share(two.second.address, 100)
        client.share(None, 0)
        assert client.counts().share is None
        two.ask(SEARCH, 3)
        assert not two.second.received
        client.share(two.second.address, 100)
        held = client.hold(client.status().state.generation, holder="t")
        client.switch(held.generation, two.second.address)
        assert client.counts().share is None
        two.ask(LOG_METRIC, 2)
        assert len(two.second.received) == 2


def test_wrong_requests_are_refused(two: Two) -> None:
    nobody = Address(host="127.0.0.1", port=9)
    with two.gate.client() as client:
        for target, percent, code in (
            (nobody, 10, "target"), (two.second.address, 0, "usage"), (two.second.address, 101, "usage"),
            (two.first.address, 10, "same"),
        ):  # fmt: skip
            with pytest.raises(GateError) as caught:
                client.share(target, percent)
            assert caught.value.code == code
        assert client.counts().share is None
