"""The gate as a proxy of HTTP: framing, smuggling, slow and many clients, big bodies, TLS."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.gate.clients import report
from liftlock.gate.model import Settings
from tests.support.gate import LOG_METRIC, GateProcess, Raw, Recorder, running, settings, start, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GateProcess, Recorder]]:
    with Recorder("up") as up, running(tmp_path_factory.mktemp("gate"), up.address) as gate:
        yield gate, up


def head(*lines: str) -> bytes:
    return "\r\n".join(["POST /x HTTP/1.1", "Host: g", *lines, "", ""]).encode("latin-1")


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
    "empty length": head("Content-Length:"),
    "length with underscore": head("Content_Length: 4") + b"abcd",
    "TE with a prefix": head("Transfer-Encoding: xchunked") + b"0\r\n\r\n",
    "TE identity": head("Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + b"0\r\n\r\n",
    "TE list": head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "TE quoted": head('Transfer-Encoding: "chunked"') + b"0\r\n\r\n",
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
    listener = socket.create_server(("127.0.0.1", 0))
    with Recorder("x") as placeholder:
        chosen = settings(tmp_path / "gate", placeholder.address)
    chosen = Settings(
        listen=chosen.listen, directory=chosen.directory,
        upstream=type(chosen.upstream)(host="127.0.0.1", port=listener.getsockname()[1]),
    )  # fmt: skip
    gate = start(chosen)
    try:
        with Raw(gate.port) as raw:
            raw.send(head("Expect: 100-continue", "Content-Length: 3"))
            sock, _ = listener.accept()
            assert b"Expect: 100-continue" in sock.recv(4096)
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert raw.answer()[0] == 100
            raw.send(b"abc")
            assert sock.recv(4096) == b"abc"
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert raw.answer()[2] == b"ok"
    finally:
        gate.kill()
        listener.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"",
    ],
)
def test_an_answer_that_is_no_answer_becomes_502_and_the_count_goes_back(answer: bytes, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with Recorder("x") as placeholder:
        chosen = settings(tmp_path / "gate", placeholder.address)
    chosen = Settings(
        listen=chosen.listen, directory=chosen.directory,
        upstream=type(chosen.upstream)(host="127.0.0.1", port=listener.getsockname()[1]),
    )  # fmt: skip
    gate = start(chosen)
    try:
        with Raw(gate.port) as raw, gate.client() as client:
            raw.post("a")
            sock, _ = listener.accept()
            sock.recv(4096)
            sock.sendall(answer)
            sock.close()
            assert raw.answer()[0] == 502
            counts = client.counts()
            assert (counts.sides[0].writes, counts.unsettled) == (0, 1)
    finally:
        gate.kill()
        listener.close()


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


def test_tls(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    with Recorder("up") as up:
        plain = settings(tmp_path / "gate", up.address)
        gate = start(
            Settings(
                listen=plain.listen, upstream=plain.upstream, directory=plain.directory, certificate=certificate,
                key=key,
            )
        )  # fmt: skip
        try:
            context = ssl.create_default_context(cafile=str(certificate))
            with (
                socket.create_connection(("127.0.0.1", gate.port)) as bare,
                context.wrap_socket(bare, server_hostname="localhost") as sock,
                gate.client() as client,
            ):
                request = b"POST /w HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\na"
                sock.sendall(request)
                assert sock.recv(4096).endswith(b"up")
                assert up.received[-1].headers["x-forwarded-proto"] == "https"
                held = client.hold(client.status().state.generation, holder="t")
                sock.sendall(request)
                until(lambda: client.counts().held == 1)
                sock.close()
                until(lambda: client.counts().left == 1)
                client.release(held.generation)
                assert len(up.received) == 1
            with Raw(gate.port) as raw:
                raw.send(b"GET / HTTP/1.1\r\nHost: g\r\n\r\n")
                assert raw.closed()
        finally:
            gate.kill()


def test_the_log_tells_who_did_what_and_rotates(tmp_path: Path) -> None:
    with Recorder("up") as up, running(tmp_path, up.address, log_bytes=4000, log_files=3) as gate:
        with Raw(gate.port) as raw:
            for number in range(20):
                raw.post(f"w{number}", headers="User-Agent: mlflow-python-client/2.9.2\r\n")
                raw.answer()
            raw.post("x", headers="User-Agent: mlflow-python-client/3.4.0\r\nX-MLflow-Client-Version: 3.4.0\r\n")
            raw.answer()
            raw.send(b"GET /api/2.0/mlflow/runs/get?run_id=secret HTTP/1.1\r\nHost: g\r\n\r\n")
            raw.answer()
        with Raw(gate.port) as raw:
            raw.send(b"garbage\r\n\r\n")
            raw.answer()
        log = gate.settings.log
        until(lambda: log.with_name("access.log.1").exists() or log.exists())
        time.sleep(0.7)
        uses = report(log)
        assert [(use.kind, use.version, use.requests, use.writes) for use in uses] == [
            ("mlflow-python-client", "2.9.2", 20, 20), ("mlflow-python-client", "3.4.0", 1, 1), ("unknown", "", 1, 0),
        ]  # fmt: skip
        assert uses[0].paths == ((f"POST {LOG_METRIC}", 20),)
        text = b"".join(file.read_bytes() for file in log.parent.glob("access.log*"))
        assert b"secret" not in text
        for file in log.parent.glob("access.log*"):
            assert file.stat().st_mode & 0o077 == 0
        for _ in range(6):  # enough to rotate away the oldest
            with Raw(gate.port) as raw:
                for number in range(60):
                    raw.post(f"w{number}")
                    raw.answer()
            time.sleep(0.6)
        assert sorted(file.name for file in log.parent.glob("access.log*"))[-1] <= "access.log.3"


def test_the_control_socket_and_the_state_are_the_owners_alone(pair: tuple[GateProcess, Recorder]) -> None:
    gate, _ = pair
    for path in (gate.settings.socket, gate.settings.state_file, gate.settings.directory):
        assert path.stat().st_mode & 0o077 == 0
    with Raw(gate.port) as raw:  # and no command is heard on the public port
        raw.send(b'{"do":"status"}\r\n\r\n')
        assert raw.answer()[0] == 400


def test_bad_commands_are_answered(pair: tuple[GateProcess, Recorder]) -> None:
    gate, _ = pair
    with Raw(gate.port) as raw:
        raw.post("counted")  # the metrics below name it; nothing else need have run before
        assert raw.answer()[0] == 200
    for line in (b"\n", b"{}\n", b'{"do":"fly"}\n', b'{"do":"switch","upstream":"nowhere"}\n', b'[1]\n', b'{"do":1}\n',
                 b'{"do":"status","more":1}\n'):  # fmt: skip
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(gate.settings.socket))
            sock.sendall(line)
            reply = json.loads(sock.recv(65_536))
            assert reply["ok"] is False
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(gate.settings.socket))
        sock.sendall(b"x" * 200_000)
        assert sock.recv(1) == b""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(gate.settings.socket))
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = sock.makefile("rb").read().decode()
    assert "200 OK" in text
    assert 'liftlock_gate_requests_total{kind="write",status="200"}' in text
