"""A port that two processes share: who gets connections, and what happens when one of them is gone."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest

from liftlock.gate import common_port
from liftlock.gate.model import GateError
from tests.support.gate import until

_SERVER = """
import socket, threading, time
sock = socket.create_server(("127.0.0.1", 0), backlog=64)
print(sock.getsockname()[1], sock.fileno(), flush=True)
def serve(peer):
    while data := peer.recv(100):
        time.sleep(0.05)
        if b"?" in data:
            peer.sendall(b"server")
while True:
    threading.Thread(target=serve, args=(sock.accept()[0],), daemon=True).start()
"""


@pytest.fixture
def server() -> Iterator[tuple[int, int, int]]:
    """PID, descriptor and port of a process that listens and never heard of port."""
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        port, descriptor = map(int, child.stdout.readline().split())
        yield child.pid, descriptor, port
        child.kill()


def asked(port: int, gate: socket.socket | None = None) -> str:
    """Who gets a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"?")
        if gate is not None:
            gate.settimeout(0.05)
            try:
                gate.accept()[0].close()
            except TimeoutError:
                pass
            else:
                return "gate"
        return client.recv(100).decode()


def test_all_new_connections_go_to_the_gate_until_it_is_gone(server: tuple[int, int, int]) -> None:
    pid, descriptor, port = server
    with socket.create_connection(("127.0.0.1", port)) as kept, socket.socket() as gate:
        user = common_port.owner(pid, descriptor)
        assert user == os.geteuid()
        gate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        common_port.join(gate, user)
        with pytest.raises(OSError, match="in use"):
            gate.bind(("127.0.0.1", port))
        common_port.lend(pid, descriptor)
        gate.bind(("127.0.0.1", port))
        assert asked(port) == "server"
        gate.listen(64)
        common_port.take_all(gate)
        assert Counter(asked(port, gate) for _ in range(40)) == {"gate": 40}
        kept.sendall(b"?")
        assert kept.recv(100) == b"server"
    assert Counter(asked(port) for _ in range(20)) == {"server": 20}


def test_a_connection_rests_a_second_after_its_answer(server: tuple[int, int, int]) -> None:
    pid, _, port = server
    with socket.create_connection(("127.0.0.1", port)) as idle, socket.create_connection(("127.0.0.1", port)) as busy:
        begun, asked_first = _descriptor_of(pid, busy), _descriptor_of(pid, idle)
        busy.sendall(b"...")  # at once: the kernel's clock does not tell this from the connection's beginning
        assert not common_port.at_rest(pid, asked_first), "a request may be on its way"
        until(lambda: common_port.at_rest(pid, asked_first))
        assert not common_port.at_rest(pid, begun), "no answer yet"
        idle.sendall(b"?")
        assert idle.recv(100) == b"server"
        assert not common_port.at_rest(pid, asked_first)
        until(lambda: common_port.at_rest(pid, asked_first))
        os.kill(pid, signal.SIGSTOP)  # it does not read what comes now
        idle.sendall(b"?")
        time.sleep(1.2)
        assert not common_port.at_rest(pid, asked_first)
        os.kill(pid, signal.SIGCONT)
    assert not common_port.at_rest(pid, 999)


def test_another_users_socket_cannot_be_fetched(server: tuple[int, int, int]) -> None:
    pid, descriptor, _ = server
    with pytest.raises(GateError, match=r"does not listen|cannot be fetched"):
        common_port.owner(pid, 0)
    if os.geteuid() != 0:
        with pytest.raises(GateError) as error:
            common_port.owner(1, 0)
        assert error.value.code == "rights"
        return
    child = os.fork()
    if not child:
        os.setresuid(65534, 65534, 65534)
        try:
            common_port.owner(pid, descriptor)
        except GateError as error:
            os._exit(7 if error.code == "rights" else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def _descriptor_of(pid: int, client: socket.socket) -> int:
    def found() -> list[int]:
        return [
            entry.fd
            for entry in psutil.Process(pid).net_connections("tcp")
            if entry.raddr and entry.raddr.port == client.getsockname()[1]
        ]

    until(lambda: bool(found()))
    return found()[0]
