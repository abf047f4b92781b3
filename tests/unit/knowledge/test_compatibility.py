"""The measurements that are shipped, and what follows from them for pairs nobody ran."""

from __future__ import annotations

import json

import pytest

from liftlock.app.compatibility import CLIENTS, SERVERS
from liftlock.errors import ReleaseError
from liftlock.knowledge.compatibility import (
    Deviation,
    Result,
    Round,
    State,
    Table,
    Unmeasured,
    judge,
    load,
    parse,
)
from liftlock.model.codec import to_json
from liftlock.model.release import Release


def release(text: str) -> Release:
    return Release(version=text)


def table(rounds: dict[tuple[str, str], tuple[str, ...]], unmeasured: tuple[Unmeasured, ...] = ()) -> Table:
    return Table(
        format=1, made="2026-01-01", store="sqlite", operations=("a", "b", "c"), unmeasured=unmeasured,
        rounds=tuple(
            Round(
                client=release(client), server=release(server), day="2026-01-01", client_python="3", server_python="3",
                deviations=tuple(Deviation(operation=each, result=Result.FAILED) for each in failed),
            )
            for (client, server), failed in rounds.items()
        ),
    )  # fmt: skip


def test_every_pair_was_run_or_says_why_not() -> None:
    found = load()
    newest = {str(each) for each in found.clients} - set(CLIENTS)
    assert len(newest) == 1
    pairs = {(str(client), str(server)) for client, server in found.pairs()}
    assert pairs == {(client, server) for client in (*CLIENTS, *newest) for server in (*SERVERS, *newest)}
    assert len(found.operations) == len(set(found.operations)) == 31
    assert all(each.reason for each in found.unmeasured)
    assert all(each.message for pair in found.rounds for each in pair.deviations)


def test_what_was_measured_is_what_others_saw() -> None:
    """Seen independently: facts about clients of 1.30.1, 2.9.2 and 3.x against 2.9.2, 3.4.0 and newer servers."""
    found = load()
    newest = found.servers[-1]
    assert judge(found, release("2.9.2"), newest).state is State.WORKS
    assert judge(found, newest, newest).broken == ()
    back = judge(found, newest, release("2.9.2"))
    assert back.state is State.BREAKS
    assert {"list artifacts", "log, register and load model", "search models and versions"} <= set(back.broken)
    assert "create registered model" in judge(found, release("1.30.1"), newest).broken
    assert "metric history" in judge(found, release("1.30.1"), release("3.4.0")).broken
    assert "metric history" not in judge(found, release("1.30.1"), newest).broken


def test_neighbours_answer_only_where_they_agree() -> None:
    rounds: dict[tuple[str, str], tuple[str, ...]] = {
        ("2.0.0", "3.0.0"): ("a", "b"), ("2.5.0", "3.0.0"): ("b",), ("2.8.0", "3.0.0"): (), ("2.9.0", "3.0.0"): (),
        ("3.0.0", "3.0.0"): (),
    }  # fmt: skip
    known = table(rounds)
    between = judge(known, release("2.3.0"), release("3.0.0"))
    assert (between.state, between.broken, between.measured) == (State.BREAKS, ("b",), False)
    assert judge(known, release("2.6.0"), release("3.0.0")).state is State.UNKNOWN
    assert judge(known, release("2.8.4"), release("3.0.0")).state is State.WORKS
    assert judge(known, release("1.9.0"), release("3.0.0")).state is State.UNKNOWN
    assert judge(known, release("3.0.4"), release("3.0.2")).state is State.WORKS, "a patch of the newest measured"
    assert judge(known, release("3.1.0"), release("3.0.0")).state is State.UNKNOWN
    assert judge(known, release("2.9.0"), release("4.0.0")).state is State.UNKNOWN


def test_a_pair_that_could_not_be_run_is_unknown_with_its_reason() -> None:
    missing = Unmeasured(client=release("1.0.0"), server=release("2.0.0"), reason="no Python for it here")
    known = table({("3.0.0", "2.0.0"): ()}, (missing,))
    found = judge(known, release("1.0.0"), release("2.0.0"))
    assert (found.state, found.evidence) == (State.UNKNOWN, "not measured: no Python for it here")
    assert judge(known, release("2.0.0"), release("2.0.0")).state is State.UNKNOWN, "a corner is missing"


def test_what_a_client_cannot_do_with_its_own_server_is_not_the_servers_fault() -> None:
    known = table({("2.0.0", "2.0.0"): ("c",), ("2.0.0", "3.0.0"): ("c",), ("2.1.0", "3.0.0"): ("c",)})
    assert judge(known, release("2.0.0"), release("3.0.0")).state is State.WORKS
    assert judge(known, release("2.1.0"), release("3.0.0")).broken == ("c",)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda data: data.update(rounds=[*data["rounds"], data["rounds"][0]]), "is there twice"),
        (lambda data: data["rounds"][0]["deviations"].append({"operation": "z", "result": "failed"}), "no operation"),
        (lambda data: data.update(unheard=1), "unheard"),
        (lambda data: data["rounds"][0].pop("day"), "day"),
    ],
)
def test_a_damaged_file_names_itself_and_the_reason(edit: object, says: str) -> None:
    data = json.loads(to_json(table({("2.0.0", "2.0.0"): ("a",)})))
    assert callable(edit)
    edit(data)
    with pytest.raises(ReleaseError, match=says) as caught:
        parse(json.dumps(data).encode(), "mine.json")
    assert "mine.json" in caught.value.message
    with pytest.raises(ReleaseError, match=r"mine\.json"):
        parse(b"{", "mine.json")
