"""What must hold of every gate, as scenarios that raise AssertionError: run on the real one and on seeded bugs."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from liftlock.gate.client import holding
from liftlock.gate.model import GateError, Phase, Stale
from tests.support.gate import GET_RUN, SEARCH, Raw, Recorder, running, start, until
from tests.support.gate_load import Load


def cut_over(place: Path, seeded: str = "") -> None:
    """Hold, drain, switch under 12 writers and 6 readers: nothing lost, doubled, or on the old side after the drain."""
    with (
        Recorder("old", delay=0.02) as old,
        Recorder("new", delay=0.02) as new,
        running(place, old.address, seeded=seeded) as gate,
        Load(gate.port) as load,
    ):
        time.sleep(0.4)
        with gate.client() as client, holding(gate.settings.socket, client.status().state.generation, holder="t") as it:
            client.drain(it.generation, limit=5)
            assert old.active_writes == 0, "drained while the old server works on a write"
            drained = len(old.bodies())
            reads = load.ledger.reads
            time.sleep(0.5)
            assert load.ledger.reads > reads + 20, "reads stand still in the hold"
            assert client.counts().held > 0
            state = client.switch(it.generation, new.address)
        switched = time.monotonic()
        assert state.phase is Phase.SWITCHED
        time.sleep(0.5)
        with gate.client() as client:
            counts = client.counts()
    ledger = load.ledger
    assert not ledger.failed, ledger.failed
    assert not ledger.read_errors, ledger.read_errors
    assert len(old.bodies()) == drained, "a write reached the old server after the drain"
    late = [each for each in old.received if each.at > switched + 0.1]
    assert not late, "the old server got a request after the switch"
    seen = Counter(old.bodies() + new.bodies())
    assert not [key for key, number in seen.items() if number > 1], "doubled"
    assert set(ledger.acknowledged) == set(seen), "lost, or done without the client's knowledge"
    for key, who in ledger.acknowledged.items():
        assert key in (old if who == "old" else new).bodies()
    assert len(new.bodies()) > 20
    assert ledger.slowest_read < 0.5, "reads waited"
    assert 0.4 < ledger.slowest_write < 2.0
    assert counts.overflowed == counts.unsettled == counts.expired == counts.left == 0


def lease(place: Path, seeded: str = "") -> None:
    """A hold that nobody renews ends by itself, to the old side, and its holder is refused afterwards."""
    with (
        Recorder("old") as old, Recorder("new") as new,
        running(place, old.address, seeded=seeded, lease=1.0) as gate, gate.client() as client, Raw(gate.port) as raw,
    ):  # fmt: skip
        held = client.hold(client.status().state.generation, ttl=0.6, holder="dead")
        started = time.monotonic()
        raw.post("a")
        assert raw.answer()[2] == b"old"
        assert 0.4 < time.monotonic() - started < 1.6
        after = client.status()
        assert after.state.phase is Phase.OPEN
        assert after.state.generation == held.generation + 1
        assert after.counts is not None
        assert after.counts.expired == 1
        with pytest.raises(Stale):
            client.switch(held.generation, new.address)
        with pytest.raises(Stale):
            client.heartbeat(held.generation)


def compare_and_set(place: Path, seeded: str = "") -> None:
    """Only the hold of the present generation can switch, renew or release."""
    with (
        Recorder("old") as old, Recorder("new") as new,
        running(place, old.address, seeded=seeded) as gate, gate.client() as client, gate.client() as other,
        Raw(gate.port) as raw,
    ):  # fmt: skip
        first = client.status().state.generation
        with pytest.raises(Stale):
            client.hold(first + 7, holder="wrong")
        with pytest.raises(Stale):
            client.switch(first, new.address)
        mine = client.hold(first, holder="a")
        with pytest.raises(GateError):
            other.hold(mine.generation, holder="b")
        other.release(mine.generation)
        theirs = other.hold(mine.generation + 1, holder="b")
        with pytest.raises(Stale):
            client.switch(mine.generation, new.address)
        with pytest.raises(Stale):
            client.heartbeat(mine.generation)
        with pytest.raises(Stale):
            client.release(mine.generation)
        assert client.status().state == theirs
        other.release(theirs.generation)
        raw.post("a")
        assert raw.answer()[2] == b"old"
        assert new.received == []


def departed(place: Path, seeded: str = "") -> None:
    """A held request whose client left is never sent, however it left, also when it left just now."""
    with Recorder("old") as old, running(place, old.address, seeded=seeded) as gate, gate.client() as client:
        stays = Raw(gate.port)
        for turn in range(5):
            held = client.hold(client.status().state.generation, holder="t")
            stays.post(f"stays{turn}")
            gone = [Raw(gate.port) for _ in range(6)]
            for number, each in enumerate(gone):
                each.post(f"gone{turn}-{number}")
            until(lambda: client.counts().held == 7)
            for each in gone[:4]:
                each.close()
            for each in gone[4:]:
                each.reset()
            if turn:
                until(lambda: client.counts().held == 1)
            client.release(held.generation)
            assert stays.answer()[2] == b"old"
        time.sleep(0.2)
        assert old.bodies() == [f"stays{turn}" for turn in range(5)]
        assert client.counts().left == 30
        stays.close()


def classification(place: Path, seeded: str = "") -> None:
    """Searches by POST pass a hold; a GET that nobody classified waits, as do writes."""
    with Recorder("old") as old, running(place, old.address, seeded=seeded) as gate, gate.client() as client:
        held = client.hold(client.status().state.generation, holder="t")
        with Raw(gate.port) as raw:
            raw.post("{}", path=SEARCH)
            assert raw.answer()[2] == b"old"
            raw.send(f"GET {GET_RUN}?run_id=1 HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            assert raw.answer()[2] == b"old"
        waiting = [Raw(gate.port) for _ in range(3)]
        waiting[0].post("w")
        waiting[1].send(b"GET /api/2.0/mlflow/runs/unheard-of HTTP/1.1\r\nHost: g\r\n\r\n")
        waiting[2].send(b"GET /ajax-api/2.0/mlflow/gateway-proxy HTTP/1.1\r\nHost: g\r\n\r\n")
        until(lambda: client.counts().held == 3, seconds=3)
        assert len(old.received) == 2
        client.release(held.generation)
        for each in waiting:
            assert each.answer()[2] == b"old"
            each.close()


def in_flight(place: Path, seeded: str = "") -> None:
    """The number of writes at the server is exact, also for those whose client left, and guards the switch."""
    with (
        Recorder("old", delay=1.0) as old, Recorder("new") as new,
        running(place, old.address, seeded=seeded) as gate, gate.client() as client,
    ):  # fmt: skip
        for number in (1, 5):
            clients = [Raw(gate.port) for _ in range(number)]
            for index, each in enumerate(clients):
                each.post(f"{number}-{index}")
            until(partial(_active, old, number))
            assert client.counts().sides[0].writes == number
            clients[0].reset()
            time.sleep(0.1)
            assert client.counts().sides[0].writes == number, "a write whose client left is at the server still"
            held = client.hold(client.status().state.generation, holder="t")
            with pytest.raises(GateError) as refused:
                client.switch(held.generation, new.address)
            assert refused.value.code == "undrained"
            client.drain(held.generation, limit=5)
            assert old.active_writes == 0
            client.release(held.generation)
            for each in clients[1:]:
                assert each.answer()[0] == 200
                each.close()
            assert client.counts().sides[0].writes == 0


def _active(server: Recorder, writes: int) -> bool:
    return server.active_writes == writes


def survives_kill(place: Path, seeded: str = "") -> None:
    """kill -9 in each state: a hold is over, a switch stands, and nothing that was held is sent."""
    with (
        Recorder("old") as old, Recorder("new") as new,
        running(place, old.address, seeded=seeded) as gate, Raw(gate.port) as raw,
    ):  # fmt: skip
        chosen = gate.settings
        with gate.client() as client:
            held = client.hold(client.status().state.generation, holder="t")
            raw.post("held")
            until(lambda: client.counts().held == 1)
        gate.kill()
        with pytest.raises(ConnectionError):
            raw.answer()
        second = start(chosen, seeded=seeded)
        try:
            with second.client() as client:
                state = client.status().state
                assert state.phase is Phase.OPEN
                assert state.generation > held.generation
                with pytest.raises(Stale):
                    client.switch(held.generation, new.address)
                again = client.hold(state.generation, holder="u")
                switched = client.switch(again.generation, new.address)
        finally:
            second.kill()
        third = start(chosen, seeded=seeded)
        try:
            with third.client() as client, Raw(third.port) as after:
                assert client.status().state == switched
                assert client.committed("u", new.address)
                after.post("later")
                assert after.answer()[2] == b"new"
        finally:
            third.kill()
        assert old.bodies() == []
        assert new.bodies() == ["later"]
