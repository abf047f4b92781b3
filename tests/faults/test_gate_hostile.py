"""Hostile input: requests that servers read in different ways, clients that are slow or many."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.gate.client import holding
from tests.support.gate import LOG_METRIC, GateProcess, Raw, Recorder, head, recorded, running, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GateProcess, Recorder]]:
    with recorded(tmp_path_factory.mktemp("gate")) as both:
        yield both


# What a server could read in another way than we do. Each is answered, and the upstream never hears of it.
HOSTILE = {
    "CL.TE": head("Content-Length: 6", "Transfer-Encoding: chunked") + b"0\r\n\r\nG",
    "TE.CL": head("Transfer-Encoding: chunked", "Content-Length: 4") + b"5c\r\nGET /evil HTTP/1.1\r\n\r\n0\r\n\r\n",
    "two lengths": head("Content-Length: 4", "Content-Length: 5") + b"abcde",
    "two equal lengths": head("Content-Length: 4", "Content-Length: 4") + b"abcd",
    "length list": head("Content-Length: 4, 4") + b"abcd",
    "signed length": head("Content-Length: +4") + b"abcd",
    "negative length": head("Content-Length: -1"),
    "hex length": head("Content-Length: 0x4") + b"abcd",
    "huge length": head("Content-Length: 99999999999999999999"),
    "length in words": head("Content-Length: 4 4") + b"abcd",
    "length with an exponent": head("Content-Length: 1e1") + b"abcdefghij",
    "length with a fraction": head("Content-Length: 4.0") + b"abcd",
    "length with underscores": head("Content-Length: 1_0") + b"abcdefghij",
    "length in other digits": head("Content-Length: \xb2") + b"ab",
    "length folded": head("Content-Length:", " 4") + b"abcd",
    "length space before colon": head("Content-Length : 4") + b"abcd",
    "length in another case, twice": head("Content-Length: 0", "CONTENT-LENGTH: 44"),
    "empty length": head("Content-Length:"),
    "length with underscore": head("Content_Length: 4") + b"abcd",
    "TE with a prefix": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "TE identity": head("Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE list": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "TE quoted": head('Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
    "TE chunked twice": head("Transfer-Encoding: chunked, chunked") + b"0\r\n\r\n",
    "TE with a parameter": head("Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n",
    "TE empty": head("Transfer-Encoding:") + b"0\r\n\r\n",
    "TE with a NUL": head("Transfer-Encoding: chunked\0") + b"0\r\n\r\n",
    "TE with a non-breaking space": head("Transfer-Encoding:\xa0chunked") + b"0\r\n\r\n",
    "TE tab before colon": head("Transfer-Encoding\t: chunked") + b"0\r\n\r\n",
    "TE with underscore": head("Transfer_Encoding: chunked") + b"0\r\n\r\n",
    "TE behind a bare CR": head("X-A: b\rTransfer-Encoding: chunked") + b"0\r\n\r\n",
    "TE named by Connection": head("Connection: transfer-encoding", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "TE vertical tab": head("Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n",
    "TE space before colon": head("Transfer-Encoding : chunked") + b"0\r\n\r\n",
    "TE folded": head("Transfer-Encoding:", " chunked") + b"0\r\n\r\n",
    "TE leading space": head(" Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "TE in HTTP/1.0": b"POST /x HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "obs-fold": head("X-A: b", "\tc"),
    "bare LF": b"GET /x HTTP/1.1\nHost: g\n\n",
    "bare LF in a header": b"GET /x HTTP/1.1\r\nHost: g\r\nX-A: b\nContent-Length: 3\r\n\r\nabc",
    "bare CR": b"GET /x HTTP/1.1\r\nHost: g\r\nX-A: b\rContent-Length: 3\r\n\r\n",
    "NUL": head("X-A: a\0b"),
    "NUL in the target": b"GET /x\0y HTTP/1.1\r\nHost: g\r\n\r\n",
    "NUL in a name": head("X\0A: b"),
    "quoted name": head('"Content-Length": 4') + b"abcd",
    "name that is not ASCII": head("X-\xc4: b"),
    "delete in a value": head("X-A: \x7f"),
    "tabs between the words": b"GET\t/x\tHTTP/1.1\r\nHost: g\r\n\r\n",
    "space after the version": b"GET /x HTTP/1.1 \r\nHost: g\r\n\r\n",
    "bare CR after the version": b"GET /x HTTP/1.1\rHost: g\r\n\r\n",
    "lower-case version": b"GET /x http/1.1\r\nHost: g\r\n\r\n",
    "version of two digits": b"GET /x HTTP/1.10\r\nHost: g\r\n\r\n",
    "HTTP/0.9 with headers": b"GET /x HTTP/0.9\r\nHost: g\r\n\r\n",
    "space before the first header": b"GET /x HTTP/1.1\r\n Host: g\r\n\r\n",
    "folded first header": b"GET /x HTTP/1.1\r\n\tContent-Length: 4\r\nHost: g\r\n\r\nabcd",
    "authority form": b"GET evil:443 HTTP/1.1\r\nHost: g\r\n\r\n",
    "asterisk form": b"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
    "fragment": b"GET /x#y HTTP/1.1\r\nHost: g\r\n\r\n",
    "no target": b"GET  HTTP/1.1\r\nHost: g\r\n\r\n",
    "two hosts in different cases": b"GET /x HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
    "two expectations": head("Expect: 100-continue", "Expect: 100-continue", "Content-Length: 3") + b"abc",
    "thousands of headers": head(*["a:"] * 5000),
    "no colon": head("Garbage"),
    "empty name": head(": x"),
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "absolute form": b"GET http://evil/x HTTP/1.1\r\nHost: g\r\n\r\n",
    "two spaces": b"GET  /x HTTP/1.1\r\nHost: g\r\n\r\n",
    "three words and more": b"GET /x y HTTP/1.1\r\nHost: g\r\n\r\n",
    "HTTP/0.9": b"GET /x\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET /x HTTP/1.2\r\nHost: g\r\n\r\n",
    "CONNECT": b"CONNECT evil:443 HTTP/1.1\r\nHost: g\r\n\r\n",
    "unknown method": b"BREW /x HTTP/1.1\r\nHost: g\r\n\r\n",
    "lower-case method": b"get /x HTTP/1.1\r\nHost: g\r\n\r\n",
    "empty line first": b"\r\nGET /x HTTP/1.1\r\nHost: g\r\n\r\n",
    "websocket": head("Connection: Upgrade", "Upgrade: websocket"),
    "drops the framing": head("Connection: content-length", "Content-Length: 3") + b"abc",
    "strange expectation": head("Expect: 200-maybe", "Content-Length: 3") + b"abc",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "long head": b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: g\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_answered_and_not_forwarded(name: str, pair: tuple[GateProcess, Recorder]) -> None:
    gate, up = pair
    before = len(up.received)
    with Raw(gate.port) as raw:
        raw.send(HOSTILE[name] + b"GET /smuggled HTTP/1.1\r\nHost: g\r\n\r\n")
        status, headers, body = raw.answer()
        assert 400 <= status < 600
        assert headers["connection"] == "close"
        assert json.loads(body)["message"].startswith("liftlock gate: ")
        raw.socket.shutdown(socket.SHUT_WR)
        assert raw.closed()
    assert len(up.received) == before
    assert not up.broken


CHUNKS = {
    "size is no number": b"zz\r\nabc\r\n0\r\n\r\n",
    "negative size": b"-1\r\nabc\r\n0\r\n\r\n",
    "prefixed size": b"0x3\r\nabc\r\n0\r\n\r\n",
    "space before size": b" 3\r\nabc\r\n0\r\n\r\n",
    "bare LF after size": b"3\nabc\r\n0\r\n\r\n",
    "bare LF after data": b"3\r\nabc\n0\r\n\r\n",
    "longer than it says": b"3\r\nabcd\r\n0\r\n\r\n",
    "extension with bare CR": b"3;a\rb\r\nabc\r\n0\r\n\r\n",
    "huge size": b"ffffffffffffffffff\r\nabc",
    "endless extension": b"3;" + b"a" * 5000,
    "no size": b"\r\nabc\r\n0\r\n\r\n",
    "size in two words": b"3 3\r\nabc\r\n0\r\n\r\n",
    "size with underscore": b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n",
    "signed size": b"+3\r\nabc\r\n0\r\n\r\n",
    "size ends in bare CR": b"3\r\rabc\r\n0\r\n\r\n",
    "extension with bare LF": b"3;a\nb\r\nabc\r\n0\r\n\r\n",
    "extension with NUL": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "bare CR after data": b"3\r\nabc\r0\r\n\r\n",
    "trailer folded": b"3\r\nabc\r\n0\r\nX: y\r\n z\r\n\r\n",
    "trailer ends in bare LF": b"3\r\nabc\r\n0\r\nX: y\n\r\n",
    "endless trailers": b"3\r\nabc\r\n0\r\n" + b"X: y\r\n" * 4000,
    "malformed trailer": b"3\r\nabc\r\n0\r\nX : y\r\n\r\n",
}


@pytest.mark.parametrize("name", CHUNKS)
def test_malformed_chunks_are_answered_and_cut_off(name: str, pair: tuple[GateProcess, Recorder]) -> None:
    gate, up = pair
    before = len(up.received)
    with Raw(gate.port) as raw:
        raw.send(head("Transfer-Encoding: chunked") + CHUNKS[name] + b"GET /smuggled HTTP/1.1\r\nHost: g\r\n\r\n")
        assert raw.answer()[0] == 400
    with Raw(gate.port) as raw:
        raw.post("after")
        assert raw.answer()[0] == 200
    assert [each.target for each in up.received[before:]] == [LOG_METRIC]
    with gate.client() as client:
        until(lambda: client.counts().sides[0].writes == 0)


def test_slow_clients_are_cut_off(tmp_path: Path) -> None:
    with (
        Recorder("up") as up,
        running(tmp_path, up.address, head=0.5, idle=0.7, body_grace=0.5, body_rate=100) as gate,
        gate.client() as client,
    ):
        slow_head, idle, slow_body = Raw(gate.port), Raw(gate.port), Raw(gate.port)
        slow_head.send(b"GET /x HTT")
        slow_body.send(head("Content-Length: 100") + b"a")
        for _ in range(5):
            slow_head.send(b"P")  # trickling does not help
            slow_body.send(b"a")
            time.sleep(0.1)
        assert slow_head.answer()[0] == 408
        assert slow_body.answer()[0] == 408
        assert idle.closed()
        until(lambda: client.counts().sides[0].writes == 0)
        until(lambda: client.counts().clients == 0)
        assert up.received == []


def test_trickled_bodies_neither_keep_a_drain_waiting_nor_fill_the_queue(tmp_path: Path) -> None:
    with recorded(tmp_path) as (gate, up), gate.client() as client:
        slow = [Raw(gate.port) for _ in range(20)]
        for each in slow:
            each.send(head("Content-Length: 8") + b"a")
        before = client.status().state.generation
        with holding(gate.settings.socket, before, holder="t") as lease:
            assert client.drain(lease.generation, limit=0.5).held == 0
            for each in slow:
                each.send(b"bc")
            honest = Raw(gate.port)
            honest.post("honest")
            until(lambda: client.counts().held == 1)
            for each in slow[:5]:
                each.send(b"defgh")
            until(lambda: client.counts().held == 6)
            assert up.received == []
        for each in (honest, *slow[:5]):
            assert each.answer()[0] == 200
        assert sorted(each.body for each in up.received) == [b"abcdefgh"] * 5 + [b"honest"]
        for each in (honest, *slow):
            each.close()


def test_more_clients_than_allowed_the_longest_idle_gives_way(tmp_path: Path) -> None:
    with Recorder("up", delay=1) as up, running(tmp_path, up.address, connections=3) as gate:
        first, second = Raw(gate.port), Raw(gate.port)
        time.sleep(0.1)
        busy = Raw(gate.port)
        busy.post("a")
        until(lambda: up.active_writes == 1)
        third = Raw(gate.port)
        assert first.closed()
        second.post("b")
        third.post("c")
        until(lambda: up.active_writes == 3)
        fourth = Raw(gate.port)
        assert fourth.answer()[0] == 503
        for each in (busy, second, third):
            assert each.answer()[0] == 200


@pytest.mark.parametrize("number", [500, pytest.param(5000, marks=pytest.mark.soak)])
def test_idle_clients_cost_little_memory_and_delay_nobody(number: int, tmp_path: Path) -> None:
    with Recorder("up") as up, running(tmp_path, up.address) as gate:
        before = gate.memory()
        idle = []
        for index in range(number):
            idle.append(socket.create_connection(("127.0.0.1", gate.port)))
            if index % 2:
                idle[-1].sendall(b"POST /x HTTP/1.1\r\nHost: g\r\nX-Pad: " + b"a" * 100)  # half a head
        with Raw(gate.port) as raw:
            started = time.monotonic()
            for count in range(20):
                raw.post(f"w{count}")
                assert raw.answer()[0] == 200
            assert time.monotonic() - started < 2
        assert (gate.memory() - before) / number < 16_384
        for each in idle:
            each.close()
