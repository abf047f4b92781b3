"""Around the proxying: TLS, the access log, the control socket and the gate's files."""

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
from tests.support.gate import LOG_METRIC, GateProcess, Raw, Recorder, recorded, running, settings, start, until


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GateProcess, Recorder]]:
    with recorded(tmp_path_factory.mktemp("gate")) as both:
        yield both


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
