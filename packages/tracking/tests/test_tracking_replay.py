"""Replay, breaker and shipper against a server played by a table of answers: each rule on its own, without MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from played_server import Server

from liftlock_tracking import records
from liftlock_tracking.batch import Batch, pieces
from liftlock_tracking.breaker import LONGEST_PAUSE, Breaker
from liftlock_tracking.creations import reconcile
from liftlock_tracking.records import Record
from liftlock_tracking.replay import Replay, Unbound
from liftlock_tracking.settings import Settings
from liftlock_tracking.shipper import Shipper
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State
from liftlock_tracking.wire import Away, Refused, Reply, Unreachable, judge, number

PROV = "lt" + "a" * 30
NEW_RUN = {"k": "run", "p": PROV, "body": {"experiment_id": "0", "tags": [{"key": "x", "value": "y"}]}}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


@pytest.fixture
def replay(server: Server, state: State) -> Replay:
    return Replay(server, state, lambda: True)


def window(*calls: dict[str, Any]) -> list[Record]:
    return [Record(i * 100, i * 100 + 100, c) for i, c in enumerate(calls)]


def test_a_run_is_made_once_although_the_answer_to_its_creation_was_lost(
    server: Server, state: State, replay: Replay
) -> None:
    def lose(name: str, body: Any) -> Any:
        if name == "runs/create":
            server.do(name, body)
            return Away("cut")
        return None

    server.answer = lose
    with pytest.raises(Unreachable):
        replay.ship("s", window(NEW_RUN), before=0)
    server.answer = None
    Replay(server, state, lambda: True).ship("s", window(NEW_RUN), before=1)
    assert len(server.runs) == 1
    assert state.bound(PROV) is not None and state.bound(PROV)[0] == "0" * 32


def test_a_second_run_that_appears_late_is_deleted(server: Server, state: State, replay: Replay) -> None:
    held: list[Any] = []

    def hang(name: str, body: Any) -> Any:
        if name == "runs/create" and not held:
            held.append(body)
            return Away("timed out")
        return None

    server.answer = hang
    with pytest.raises(Unreachable):
        replay.ship("s", window(NEW_RUN), before=0)
    replay.ship("s", window(NEW_RUN), before=1)
    server.do("runs/create", held[0])
    assert len(server.runs) == 2
    reconcile(replay)
    kept = state.bound(PROV)
    assert kept is not None
    stages = {r["info"]["run_id"]: r["info"]["lifecycle_stage"] for r in server.runs}
    assert stages[str(kept[0])] == "active" and sorted(stages.values()) == ["active", "deleted"]
    assert state.notes()["second runs deleted"][0] == "1"


def test_a_creation_that_never_reached_the_server_is_not_searched_for(
    server: Server, state: State, replay: Replay
) -> None:
    server.answer = lambda name, body: Away("refused", reached=False) if name == "runs/create" else None
    with pytest.raises(Unreachable):
        replay.ship("s", window(NEW_RUN), before=0)
    server.answer = None
    replay.ship("s", window(NEW_RUN), before=1)
    assert server.names() == ["runs/create", "runs/create"] and state.suspects() == []


def test_order_holds_per_run_and_calls_are_batched(server: Server, replay: Replay) -> None:
    calls: list[dict[str, Any]] = [NEW_RUN]
    calls += [{"k": "b", "r": PROV, "m": [["m", 1.0, 5, n]]} for n in range(1500)]
    calls += [
        {"k": "b", "r": PROV, "t": [["a", "1"]]},
        {
            "k": "call",
            "api": "DeleteTag",
            "m": "POST",
            "e": "/api/2.0/mlflow/runs/delete-tag",
            "r": PROV,
            "body": {"run_id": PROV, "key": "a"},
        },
    ]
    calls += [{"k": "b", "r": PROV, "t": [["a", "2"]]}]
    replay.ship("s", window(*calls), before=0)
    assert server.names() == ["runs/create", "runs/log-batch", "runs/log-batch", "runs/delete-tag", "runs/log-batch"]
    sizes = [len(b["metrics"]) for _, n, b in server.sent if n == "runs/log-batch"]
    assert sizes == [1000, 500, 0]
    assert server.sent[3][2]["run_id"] == "0" * 32
    assert server.sent[4][2]["tags"] == [{"key": "a", "value": "2"}]


def test_calls_under_both_ids_of_a_run_stay_in_one_order(server: Server, replay: Replay) -> None:
    real = "0" * 32
    replay.ship(
        "s",
        window(NEW_RUN, {"k": "b", "r": PROV, "t": [["a", "1"]]}, {"k": "b", "r": real, "t": [["a", "2"]]}),
        before=0,
    )
    assert server.sent[-1][2]["tags"] == [{"key": "a", "value": "2"}] and server.names().count("runs/log-batch") == 1


def test_one_bad_item_is_refused_and_the_rest_of_its_batch_arrives(
    server: Server, state: State, replay: Replay
) -> None:
    server.answer = lambda name, body: (
        Refused("INVALID_PARAMETER_VALUE", "no", 400)
        if any(p["key"] == "bad" for p in body.get("params", []))
        else None
    )
    calls = [{"k": "b", "r": "r" * 32, "p": [[f"p{n}" if n != 13 else "bad", "v"]]} for n in range(40)]
    replay.ship("s", window(*calls), before=0)
    arrived = {
        p["key"] for _, _, b in server.sent[1:] for p in b["params"] if not any(q["key"] == "bad" for q in b["params"])
    }
    assert arrived == {f"p{n}" for n in range(40) if n != 13}
    assert [r[3] for r in state.rejected()] == ["no"]


def test_what_belongs_to_a_refused_run_is_kept_aside_not_sent(server: Server, state: State, replay: Replay) -> None:
    server.answer = lambda name, body: (
        Refused("RESOURCE_DOES_NOT_EXIST", "no experiment", 404) if name == "runs/create" else None
    )
    replay.ship("s", window(NEW_RUN, {"k": "b", "r": PROV, "t": [["a", "1"]]}), before=0)
    assert server.names() == ["runs/create"] and len(state.rejected()) == 2


def test_a_run_of_a_process_still_running_is_waited_for(replay: Replay) -> None:
    with pytest.raises(Unbound):
        replay.ship("s", window({"k": "b", "r": PROV, "t": [["a", "1"]]}), before=0)


def test_an_id_nobody_made_is_left_as_it_stands_in_a_value(server: Server, tmp_path: Path) -> None:
    own = Spool(Settings(uri="http://x", spool=tmp_path / "s"))
    state = State(own.folder)
    own.append({"k": "b", "r": "r" * 32, "p": [["seen", PROV]]})
    own.append({"k": "b", "r": PROV, "t": [["a", "1"]]})
    shipper = Shipper(own, state, server, Breaker(), lambda: True)
    assert shipper.own() and not shipper.own()
    assert server.sent[0][2]["params"] == [{"key": "seen", "value": PROV}]
    assert len(state.rejected()) == 1


def test_an_orphan_that_waits_for_our_own_run_does_not_stop_us(server: Server, tmp_path: Path) -> None:
    gone = Spool(Settings(uri="http://x", spool=tmp_path / "s"))
    gone.append({"k": "b", "r": PROV, "t": [["a", "1"]]})
    for segment in gone.segments:
        segment.close()
    own = Spool(gone.settings)
    own.append(NEW_RUN)
    shipper = Shipper(own, State(own.folder), server, Breaker(), lambda: True)
    assert shipper.orphans() == 0 and shipper.waits_for == PROV
    assert shipper.own()
    assert shipper.orphans() == 1 and shipper.waits_for == ""
    assert server.names() == ["runs/create", "runs/log-batch"]


def test_a_call_the_server_never_survives_is_set_aside_in_the_end(server: Server, tmp_path: Path) -> None:
    own = Spool(Settings(uri="http://x", spool=tmp_path / "s"))
    state = State(own.folder)
    for key in ("good", "poison", "fine"):
        own.append({"k": "call", "api": "SetExperimentTag", "m": "POST", "e": "/x", "r": "", "body": {"key": key}})
    server.answer = lambda name, body: Away("500 INTERNAL_ERROR", busy=True) if body.get("key") == "poison" else None
    shipper = Shipper(own, state, server, Breaker(), lambda: True)
    for _ in range(7):
        with pytest.raises(Unreachable):
            shipper.own()
    assert shipper.own()
    assert len(state.rejected()) == 1 and own.pending() == 0
    assert any(b.get("key") == "fine" for _, _, b in server.sent)


def test_damage_is_set_aside_and_what_follows_is_sent(server: Server, tmp_path: Path) -> None:
    gone = Spool(Settings(uri="http://x", spool=tmp_path / "s"))
    for n in range(3):
        gone.append({"k": "b", "r": "r" * 32, "t": [[f"t{n}", "x"]]})
    path = gone.segments[0].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data + records.encode(b'{"k":"b"}')[:-3])
    gone.segments[0].close()
    fresh = Spool(gone.settings)
    shipper = Shipper(fresh, State(fresh.folder), server, Breaker(), lambda: True)
    assert shipper.orphans() == 2
    assert [t["key"] for t in server.sent[0][2]["tags"]] == ["t0", "t2"]
    assert len(list((fresh.folder / "quarantine").iterdir())) == 2 and not path.exists()


def test_large_calls_are_cut_to_what_a_batch_may_hold() -> None:
    cut = pieces(
        {"k": "b", "r": "r", "m": [["m", 1.0, 1, n] for n in range(950)], "p": [["p", "v"]] * 3, "t": [["t", "v"]] * 99}
    )
    assert sum(len(c.get("m", ())) for c in cut) == 950 and all(len(c.get("m", c.get("t", ()))) <= 100 for c in cut)
    batch = Batch("r")
    batch.add({"p": [["a", "1"]]}, "1", 10)
    assert not batch.fits({"p": [["a", "2"]]}, 10) and batch.fits({"p": [["a", "1"]]}, 10)
    assert not batch.fits({"t": [["big", "x"]]}, 1 << 20)


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (200, "{}", Reply), (200, "", Reply), (200, "<html>login</html>", Away), (400, '{"error_code":"INVALID_PARAMETER_VALUE"}', Refused),
        (404, '{"error_code":"RESOURCE_DOES_NOT_EXIST"}', Refused), (404, "<html>nothing here</html>", Away), (401, "", Away),
        (403, "Invalid Host header", Away), (413, "too large", Refused), (429, "", Away), (503, "", Away), (502, "x", Away),
        (500, '{"error_code":"INTERNAL_ERROR"}', Away),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int, text: str, kind: type) -> None:
    assert type(judge(status, text, "/api/2.0/mlflow/runs/create")) is kind


def test_numbers_as_json() -> None:
    assert [number(v) for v in (1.5, float("inf"), float("-inf"), 3)] == [1.5, "Infinity", "-Infinity", 3]
    assert number(float("nan")) == "NaN"


def test_the_breaker_pauses_longer_and_longer_and_closes_at_once() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0])
    assert not breaker.open and breaker.wait() == 0
    assert breaker.failed("x") and not breaker.failed("x")
    for _ in range(20):
        breaker.failed("x")
    assert breaker.wait() == LONGEST_PAUSE
    now[0] += LONGEST_PAUSE
    assert breaker.open and breaker.wait() == 0
    assert breaker.answered() and not breaker.open and not breaker.answered()
