"""The gate as a proxy of HTTP: what passes, in which form, and what becomes of a server that answers badly."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.gate.model import Address
from tests.support.gate import GateProcess, Raw, Recorder, head, recorded, running, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GateProcess, Recorder]]:
    with recorded(tmp_path_factory.mktemp("gate")) as both:
        yield both


@contextlib.contextmanager
def played(tmp_path: Path) -> Iterator[tuple[GateProcess, socket.socket]]:
    """A gate in front of a listener that the test plays the server on."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        running(tmp_path, Address(host="127.0.0.1", port=listener.getsockname()[1])) as gate,
    ):
        yield gate, listener


def test_chunked_bodies_pass_however_they_are_cut_and_trailers_are_dropped(pair: tuple[GateProcess, Recorder]) -> None:
    gate, up = pair
    body = b"3\r\nabc\r\n5;note=1\r\ndefgh\r\n0\r\nX-Sum: 1\r\n\r\n"
    for step in (1, 2, 3, 7, len(body)):
        with Raw(gate.port) as raw:
            raw.send(head("Transfer-Encoding: chunked"))
            for at in range(0, len(body), step):
                raw.send(body[at : at + step])
                time.sleep(0.001)
            assert raw.answer()[0] == 200
            raw.post("next")
            assert raw.answer()[0] == 200
        assert [each.body for each in up.received[-2:]] == [b"abcdefgh", b"next"]


def test_pipelined_requests_are_answered_in_order(pair: tuple[GateProcess, Recorder]) -> None:
    gate, up = pair
    before = len(up.received)
    with Raw(gate.port) as raw:
        raw.send(b"".join(b"GET /p%d HTTP/1.1\r\nHost: g\r\n\r\n" % n for n in range(50)))
        assert all(raw.answer()[0] == 200 for _ in range(50))
    assert [each.target for each in up.received[before:]] == [f"/p{n}" for n in range(50)]


def test_headers_host_passed_forwarded_appended_hop_by_hop_dropped(pair: tuple[GateProcess, Recorder]) -> None:
    gate, up = pair
    with Raw(gate.port) as raw:
        raw.send(
            b"GET /h HTTP/1.1\r\nHost: mlflow.example.com\r\n"
            b"X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n"
            b"Authorization: Basic eDp5\r\nConnection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\n"
            b"Upgrade: h2c\r\nX-Other: 2\r\n\r\n"
        )
        status, answered, _ = raw.answer()
        assert (status, answered["connection"]) == (200, "close")
        assert raw.closed()
    got = up.received[-1].headers
    assert got["host"] == got["x-forwarded-host"] == "mlflow.example.com"
    assert got["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert got["x-forwarded-proto"] == "https"
    assert got["authorization"] == "Basic eDp5"
    assert got["x-other"] == "2"
    assert not {"connection", "x-mine", "keep-alive", "upgrade"} & set(got)


def test_http_1_0_and_head_and_100_continue(pair: tuple[GateProcess, Recorder]) -> None:
    gate, _ = pair
    with Raw(gate.port) as raw:
        raw.send(b"GET /old HTTP/1.0\r\n\r\n")
        assert raw.answer()[0] == 200
        assert raw.closed()
    with Raw(gate.port) as raw:
        raw.send(b"HEAD /h HTTP/1.1\r\nHost: g\r\n\r\nGET /next HTTP/1.1\r\nHost: g\r\n\r\n")
        raw_head = raw.file.readline() + raw.file.readline() + raw.file.readline()
        assert b"200" in raw_head
        assert raw.answer()[2] == b"up"


def test_an_interim_answer_is_passed_on(tmp_path: Path) -> None:
    with played(tmp_path) as (gate, listener), Raw(gate.port) as raw:
        raw.send(head("Expect: 100-continue", "Content-Length: 3"))
        sock, _ = listener.accept()
        assert b"Expect: 100-continue" in sock.recv(4096)
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert raw.answer()[0] == 100
        raw.send(b"abc")
        assert sock.recv(4096) == b"abc"
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        assert raw.answer()[2] == b"ok"
        sock.close()


def test_head_and_body_sent_apart_reach_the_server_as_one_message_and_so_does_its_answer(tmp_path: Path) -> None:
    with played(tmp_path) as (gate, listener), Raw(gate.port) as raw:
        raw.send(head("Content-Length: 5"))
        for part in (b"ab", b"cde"):
            time.sleep(0.05)
            raw.send(part)
        sock, _ = listener.accept()
        assert sock.recv(4096).endswith(b"\r\n\r\nabcde")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        time.sleep(0.05)
        sock.sendall(b"done")
        assert raw.socket.recv(4096).endswith(b"\r\n\r\ndone")
        sock.close()


def test_who_leaves_while_the_server_is_away_is_not_sent_later(tmp_path: Path) -> None:
    with Recorder("x") as gone:
        address = gone.address
    with running(tmp_path, address) as gate, gate.client() as client:
        leaves, stays = Raw(gate.port), Raw(gate.port)
        leaves.post("leaves")
        stays.post("stays")
        until(lambda: client.counts().sides[0].writes == 2)
        leaves.close()
        time.sleep(0.1)
        with socket.create_server(("127.0.0.1", address.port)) as listener:
            listener.settimeout(10)
            bodies: list[bytes] = []
            while not bodies or client.counts().left == 0:
                sock, _ = listener.accept()
                sock.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    bodies.append(sock.recv(4096).rpartition(b"\r\n\r\n")[2])
                    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                sock.close()
            assert stays.answer()[2] == b"ok"
        assert [each for each in bodies if each] == [b"stays"]
        assert client.counts().left == 1
        stays.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nbroken off",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_is_no_answer_becomes_502_and_the_count_goes_back(answer: bytes, tmp_path: Path) -> None:
    with played(tmp_path) as (gate, listener), Raw(gate.port) as raw, gate.client() as client:
        raw.post("a")
        sock, _ = listener.accept()
        sock.recv(4096)
        sock.sendall(answer)
        sock.close()
        assert raw.answer()[0] == 502
        counts = client.counts()
        assert (counts.sides[0].writes, counts.unsettled) == (0, 1)


def test_a_read_on_a_connection_that_just_died_is_sent_again_a_write_is_not_sent_on_it(tmp_path: Path) -> None:
    with Recorder("up", close_each=True) as up, running(tmp_path, up.address) as gate, Raw(gate.port) as raw:
        for number in range(30):  # the server closes after each answer
            raw.send(b"GET /health HTTP/1.1\r\nHost: g\r\n\r\n")
            assert raw.answer()[0] == 200
            raw.post(f"w{number}")
            assert raw.answer()[0] == 200
        assert up.bodies() == [f"w{number}" for number in range(30)]


@pytest.mark.parametrize("megabytes", [16, pytest.param(400, marks=pytest.mark.soak)])
def test_bodies_of_any_size_pass_in_bounded_memory(megabytes: int, tmp_path: Path) -> None:
    size = megabytes << 20
    with Recorder("up", keep_bodies=False) as up, running(tmp_path, up.address) as gate, Raw(gate.port) as raw:
        before = gate.memory()
        block = b"z" * (1 << 20)
        put = b"PUT /api/2.0/mlflow-artifacts/artifacts/m HTTP/1.1\r\nHost: g\r\n"
        raw.send(put + b"Content-Length: %d\r\n\r\n" % size)
        for _ in range(megabytes):
            raw.send(block)
        assert raw.answer()[0] == 200
        assert up.received[-1].body == str(size).encode()
        raw.send(put + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(megabytes):
            raw.send(b"100000\r\n" + block + b"\r\n")
        raw.send(b"0\r\n\r\n")
        assert raw.answer()[0] == 200
        assert up.received[-1].body == str(size).encode()
        for form in ("", "/c"):
            raw.send(f"GET /static-files/bytes/{size}{form} HTTP/1.1\r\nHost: g\r\n\r\n".encode())
            time.sleep(0.3)  # a slow reader: what it does not take must wait at the server
            assert gate.memory() - before < 8 << 20
            while raw.file.readline() != b"\r\n":
                pass
            left = size
            while form:
                step = int(raw.file.readline(), 16)
                left -= len(raw.file.read(step))
                raw.file.readline()
                if not step:
                    break
            if not form:
                while left:
                    left -= len(raw.file.read(min(left, 1 << 20)))
            assert left == 0
        assert gate.memory() - before < 8 << 20
