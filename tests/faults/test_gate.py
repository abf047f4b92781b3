"""The gate under load and faults: real processes, real sockets, a ledger of what clients were told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from liftlock.gate.client import GateClient, holding
from liftlock.gate.model import GateError, Phase, Stale
from tests.support import gate_scenarios
from tests.support.gate import LOG_METRIC, ROOT, Raw, Recorder, running, settings, start, until
from tests.support.gate_load import Load

SCENARIOS = ("cut_over", "lease", "compare_and_set", "departed", "classification", "in_flight", "survives_kill")


@pytest.mark.parametrize("name", SCENARIOS)
def test_holds(name: str, tmp_path: Path) -> None:
    getattr(gate_scenarios, name)(tmp_path)


# Each breaks the gate in one way somebody could break it by accident, and names the scenario that must notice.
SEEDED = {
    "hold without lease": ("lease", """
from liftlock.gate.core import Gate
Gate._renew = lambda self, until: setattr(self, '_lease', float('inf'))
"""),
    "generation ignored": ("compare_and_set", """
from liftlock.gate import machine
machine._same = lambda *_: None
machine.holding = lambda *_: None
"""),
    "a client that left is sent later": ("departed", """
from liftlock.gate.connection import ClientConnection
ClientConnection.present = lambda self: True
"""),
    "classified by verb": ("classification", """
from liftlock.gate.endpoints import Classifier
Classifier.reads = lambda self, verb, path: verb in (b'GET', b'HEAD')
"""),
    "unknown is a read": ("classification", """
from liftlock.gate.endpoints import Classifier
Classifier.reads = lambda self, verb, path: not path.endswith(b'/log-metric')
"""),
    "in-flight one too low": ("in_flight", """
from liftlock.gate.upstream import Upstream
from liftlock.gate.model import Side
Upstream.side = lambda self: Side(address=self.address, reads=self.reads, writes=max(0, self.writes - 1))
"""),
    "an abandoned write is forgotten": ("in_flight", """
from liftlock.gate.traffic import Traffic
good = Traffic.abandon
def abandon(self, exchange):
    good(self, exchange)
    if exchange.write and exchange.upstream is not None:
        exchange.upstream.writes -= 1
Traffic.abandon = abandon
"""),
    "switched before it was drained": ("in_flight", """
from liftlock.gate import machine
good = machine.switch
machine.switch = lambda state, generation, target, *, writes, at: good(state, generation, target, writes=0, at=at)
"""),
    "kept connections outlive the switch": ("cut_over", """
from liftlock.gate.upstream import Upstream
good = Upstream.__init__
shared = []
def init(self, address, *, reuse):
    good(self, address, reuse=60.0)
    self._idle = shared
Upstream.__init__ = init
Upstream.retire = Upstream.trim = lambda self: None
"""),
    "what was held goes to the old side": ("cut_over", """
from liftlock.gate.traffic import Traffic
from liftlock.gate.upstream import Upstream
good, good_move = Traffic.release, Traffic.move
def move(self, successor):
    self.old = self.upstream.address
    good_move(self, successor)
def release(self):
    new = self.upstream
    if hasattr(self, 'old'):
        self.upstream = Upstream(self.old, reuse=1.0)
    good(self)
    self.upstream = new
Traffic.move, Traffic.release = move, release
"""),
    "reads wait too": ("cut_over", """
from liftlock.gate.endpoints import Classifier
Classifier.reads = lambda self, verb, path: False
"""),
    "the switch is not recorded": ("survives_kill", """
from liftlock.gate import state
good = state.store
state.store = lambda path, new: None if new.phase == 'switched' else good(path, new)
"""),
    "a hold survives a restart": ("survives_kill", """
from liftlock.gate import machine
machine.recovered = lambda state: state
"""),
}  # fmt: skip


@pytest.mark.parametrize("bug", SEEDED)
def test_a_seeded_bug_is_caught(bug: str, tmp_path: Path) -> None:
    scenario, code = SEEDED[bug]
    with pytest.raises((AssertionError, ConnectionError, GateError, TimeoutError, pytest.fail.Exception)):
        getattr(gate_scenarios, scenario)(tmp_path, code)


_HOLDER = """
import sys, time
from pathlib import Path
from liftlock.gate.client import GateClient, holding
from liftlock.gate.model import Address, Stale
path = Path(sys.argv[1])
with GateClient(path) as client, holding(path, client.status().state.generation, holder="frozen") as lease:
    print(lease.generation, flush=True)
    sys.stdin.readline()
    try:
        client.switch(lease.generation, Address.parse(sys.argv[2]))
        print("switched", flush=True)
    except Stale:
        print("stale", flush=True)
"""


def test_a_frozen_holder_loses_the_hold_and_cannot_switch_when_it_wakes(tmp_path: Path) -> None:
    with (
        Recorder("old") as old, Recorder("new") as new, running(tmp_path, old.address) as gate,
        gate.client() as client, Raw(gate.port) as raw,
    ):  # fmt: skip
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(gate.settings.socket), str(new.address)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        assert holder.stdout and holder.stdin
        generation = int(holder.stdout.readline())
        time.sleep(1.2)  # several heartbeats
        assert client.status().state.generation == generation
        holder.send_signal(signal.SIGSTOP)
        frozen = time.monotonic()
        raw.post("a")
        assert raw.answer()[2] == b"old"
        assert 3.5 < time.monotonic() - frozen < 6.5, "TTL 5 s"
        holder.send_signal(signal.SIGCONT)
        assert holder.communicate("\n", timeout=20)[0].strip() == "stale"
        assert new.received == []


def test_a_frozen_gate_judges_the_lease_by_the_clock_when_it_wakes(tmp_path: Path) -> None:
    with (
        Recorder("old") as old, Recorder("new") as new, running(tmp_path, old.address) as gate, gate.client() as client,
    ):  # fmt: skip
        held = client.hold(client.status().state.generation, ttl=1.0, holder="t")
        gate.child.send_signal(signal.SIGSTOP)
        time.sleep(1.3)
        # The command lies in the socket before the gate wakes: it must not win against the lease.
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(gate.settings.socket))
        sock.sendall(f'{{"do":"switch","generation":{held.generation},"upstream":"{new.address}"}}\n'.encode())
        gate.child.send_signal(signal.SIGCONT)
        assert b'"stale"' in sock.recv(65_536)
        sock.close()
        assert client.status().state.phase is Phase.OPEN


@pytest.mark.parametrize("point", ["before:gate state switched", "after:gate state switched"])
def test_killed_around_the_record_of_the_switch_the_file_decides(point: str, tmp_path: Path) -> None:
    with Recorder("old") as old, Recorder("new") as new:
        chosen = settings(tmp_path / "gate", old.address)
        gate = start(chosen, env={"LIFTLOCK_CRASH_AT": point})
        with gate.client() as client:
            held = client.hold(client.status().state.generation, holder="run-1")
            with pytest.raises(GateError) as error:
                client.switch(held.generation, new.address)
        assert error.value.code == "unknown"
        assert gate.child.wait(5) == -signal.SIGKILL
        again = start(chosen)
        try:
            with again.client() as client, Raw(again.port) as raw:
                done = point.startswith("after")
                assert client.committed("run-1", new.address) is done
                raw.post("a")
                assert raw.answer()[2] == (b"new" if done else b"old")
        finally:
            again.kill()


def test_a_switch_that_cannot_be_recorded_is_refused_and_the_hold_goes_on(tmp_path: Path) -> None:
    broken = """
from liftlock.gate import state
good = state.store
def store(path, new):
    if new.phase == 'switched':
        raise OSError(28, 'No space left on device')
    good(path, new)
state.store = store
"""
    with (
        Recorder("old") as old, Recorder("new") as new,
        running(tmp_path, old.address, seeded=broken) as gate, gate.client() as client, Raw(gate.port) as raw,
    ):  # fmt: skip
        held = client.hold(client.status().state.generation, holder="t")
        raw.post("a")
        with pytest.raises(GateError) as error:
            client.switch(held.generation, new.address)
        assert error.value.code == "state"
        assert client.status().state == held
        client.release(held.generation)
        assert raw.answer()[2] == b"old"


def test_a_switch_to_a_server_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with Recorder("old") as old, running(tmp_path, old.address) as gate, gate.client() as client:
        with Recorder("new") as new:
            pass
        held = client.hold(client.status().state.generation, holder="t")
        with pytest.raises(GateError) as error:
            client.switch(held.generation, new.address)
        assert error.value.code == "target"
        with pytest.raises(GateError) as error:
            client.switch(held.generation, old.address)
        assert error.value.code == "same"
        assert client.heartbeat(held.generation) == held


def test_however_faithful_its_heartbeat_a_hold_has_an_end(tmp_path: Path) -> None:
    with (
        Recorder("old") as old, running(tmp_path, old.address, hold=1.0) as gate, Raw(gate.port) as raw,
        gate.client() as client, holding(gate.settings.socket, client.status().state.generation, holder="t") as lease,
    ):  # fmt: skip
        raw.post("a")
        assert raw.answer()[2] == b"old"
        until(lease.lost.is_set)
        with pytest.raises(Stale):
            client.drain(lease.generation, limit=1)


def _held(client: GateClient, number: int) -> bool:
    return client.counts().held == number


def test_a_full_queue_refuses_the_newest_and_reports_it(tmp_path: Path) -> None:
    with Recorder("old") as old, running(tmp_path, old.address, queue=3) as gate, gate.client() as client:
        held = client.hold(client.status().state.generation, holder="t")
        clients = [Raw(gate.port) for _ in range(5)]
        for number, each in enumerate(clients):
            each.post(f"k{number}")
            wanted = min(3, number + 1)
            until(partial(_held, client, wanted))
        for each in clients[3:]:
            status, headers, _ = each.answer()
            assert (status, headers["retry-after"]) == (429, "1")
        assert client.counts().overflowed == 2
        client.release(held.generation)
        for each in clients[:3]:
            assert each.answer()[2] == b"old"
        clients[4].post("again")  # the connection is still good
        assert clients[4].answer()[2] == b"old"
        assert sorted(old.bodies()) == ["again", "k0", "k1", "k2"]


def test_a_big_body_does_not_fill_the_queue_while_held(tmp_path: Path) -> None:
    with Recorder("old", keep_bodies=False) as old, running(tmp_path, old.address) as gate, gate.client() as client:
        held = client.hold(client.status().state.generation, holder="t")
        raw = Raw(gate.port)
        raw.send(f"POST {LOG_METRIC} HTTP/1.1\r\nHost: g\r\nContent-Length: 16777216\r\n\r\n".encode())
        raw.socket.settimeout(0.5)
        sent = 0
        with pytest.raises(TimeoutError):
            while sent < 16_777_216:
                sent += raw.socket.send(b"z" * 65_536)
        assert client.counts().held_bytes < 1 << 20
        raw.socket.settimeout(15)
        client.release(held.generation)
        raw.send(b"z" * (16_777_216 - sent))
        assert raw.answer()[0] == 200
        assert old.received[0].body == b"16777216"


def test_the_way_back_uses_the_same_protocol(tmp_path: Path) -> None:
    with (
        Recorder("old") as old, Recorder("new") as new, running(tmp_path, old.address) as gate,
        gate.client() as client, Raw(gate.port) as raw,
    ):  # fmt: skip
        for target in (new, old, new):
            held = client.hold(client.status().state.generation, holder="t")
            raw.post("x")
            assert client.switch(held.generation, target.address).upstream == target.address
            assert raw.answer()[2].decode() == target.name


def test_a_server_that_restarts_is_waited_for(tmp_path: Path) -> None:
    with Recorder("old") as old:
        address = old.address
    chosen = settings(tmp_path / "gate", address)
    gate = start(chosen)
    try:
        with Raw(gate.port) as raw:
            raw.post("a")
            time.sleep(0.5)
            listener = socket.create_server(("127.0.0.1", address.port))
            sock, _ = listener.accept()
            assert b"\r\n\r\na" in sock.recv(65_536)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert raw.answer()[2] == b"ok"
            sock.close()
            listener.close()
    finally:
        gate.kill()


def test_a_write_for_a_server_that_is_away_is_held_like_any_other(tmp_path: Path) -> None:
    """Nothing of it was sent: it is not in flight, and need not be waited for before a switch."""
    with Recorder("old") as old:
        address = old.address
    with Recorder("new") as new, running(tmp_path, address) as gate, gate.client() as client, Raw(gate.port) as raw:
        raw.post("a")
        until(lambda: client.counts().sides[0].writes == 1)
        held = client.hold(client.status().state.generation, holder="t")
        until(partial(_held, client, 1))
        assert client.counts().sides[0].writes == 0
        client.switch(held.generation, new.address)
        assert raw.answer()[2] == b"new"
        assert new.bodies() == ["a"]


def test_killed_under_load_nothing_acknowledged_is_lost_or_doubled(tmp_path: Path) -> None:
    with Recorder("old", delay=0.005) as old:
        chosen = settings(tmp_path / "gate", old.address)
        gate = start(chosen)
        with Load(gate.port, writers=6, readers=2) as load:
            for _ in range(3):
                time.sleep(0.3)
                gate.kill()
                gate = start(chosen)
            time.sleep(0.3)
        gate.kill()
        bodies = old.bodies()
        assert len(bodies) == len(set(bodies))
        assert set(load.ledger.acknowledged) <= set(bodies)
        assert set(bodies) <= set(load.ledger.acknowledged) | set(load.ledger.failed)
        assert len(load.ledger.acknowledged) > 50


def test_stopping_in_a_hold_sends_what_waits(tmp_path: Path) -> None:
    with Recorder("old") as old, running(tmp_path, old.address) as gate, Raw(gate.port) as raw:
        with gate.client() as client:
            client.hold(client.status().state.generation, holder="t")
            raw.post("a")
            until(lambda: client.counts().held == 1)
        gate.child.terminate()
        assert raw.answer()[2] == b"old"
        assert gate.child.wait(10) == 0
        assert not gate.settings.socket.exists()


def test_two_gates_cannot_share_a_directory(tmp_path: Path) -> None:
    with Recorder("old") as old, running(tmp_path, old.address) as gate:
        second = subprocess.run(
            [str(Path(sys.executable).with_name("liftlock")), "gate", "run", "--listen", "127.0.0.1:0",
             "--upstream", str(old.address), "--dir", str(gate.settings.directory)],
            capture_output=True, text=True, timeout=30, cwd=ROOT, env={**os.environ},
        )  # fmt: skip
        assert second.returncode == 3
        assert "another gate uses" in second.stderr
