"""`liftlock-tracking`: status, ship, purge."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from played_server import Server

from liftlock_tracking import cli
from liftlock_tracking.records import encode
from liftlock_tracking.segments import segment_files
from liftlock_tracking.settings import Settings, place
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State
from liftlock_tracking.wire import Away, Refused

URI = "http://user:secret@x:5000"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of one server's spool, and an environment that says nothing else."""
    for name in (
        "MLFLOW_ENABLE_TRACKING",
        "MLFLOW_ENABLE_TRACING",
        "MLFLOW_TRACKING_URI",
        "LIFTLOCK_TRACKING_ENV_FILE",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIFTLOCK_TRACKING_SPOOL", str(tmp_path))
    return tmp_path / place(URI)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    """What `ship` sends to."""
    played = Server()
    monkeypatch.setattr("liftlock_tracking.shipper.Wire", lambda *_: played)
    return played


def left(folder: Path, *calls: dict[str, Any]) -> Path:
    """What a process that is gone left behind."""
    gone = Spool(Settings(uri=URI, spool=folder))
    for call in calls:
        gone.append(call)
    gone.segments[0].close()
    return gone.segments[0].path


def tag(name: str) -> dict[str, Any]:
    return {"k": "b", "r": "r" * 32, "t": [[name, "x"]]}


def refuse(name: str, body: Any) -> Any:
    bad = any(t["key"] == "bad" for t in (body or {}).get("tags", []))
    return Refused("INVALID_PARAMETER_VALUE", "400 INVALID_PARAMETER_VALUE: no", 400) if bad else None


def test_status_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "phase: 0 off" in said and "nothing was ever spooled" in said


@pytest.mark.parametrize(
    ("environment", "phase"),
    [
        ({}, "0 off"),
        ({"MLFLOW_TRACKING_URI": "liftlock+http://x", "MLFLOW_ENABLE_TRACKING": "false"}, "0 off"),
        ({"MLFLOW_TRACKING_URI": "liftlock+http://x", "MLFLOW_ENABLE_TRACING": "false"}, "1 tracking"),
        ({"MLFLOW_TRACKING_URI": "liftlock+http://x"}, "2 tracking and tracing"),
        ({"MLFLOW_TRACKING_URI": "http://x"}, "MLflow without the plugin"),
    ],
)
def test_status_says_the_phase(
    environment: dict[str, str], phase: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cli.main(["status", "--json"])
    assert json.loads(capsys.readouterr().out)["phase"] == phase


def test_status_counts_what_waits_and_never_says_a_password(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = time.time()
    left(folder, tag("a"), tag("b"))
    assert cli.main(["status", "--json"]) == 0
    (facts,) = json.loads(capsys.readouterr().out)["spools"]
    assert facts["waiting_calls"] == 2 and facts["refused"] == facts["lost"] == facts["live_writers"] == 0
    assert before - 1 <= facts["oldest"] <= time.time() + 1
    cli.main(["status", "--metrics"])
    assert 'liftlock_tracking_waiting_calls{server="http://x:5000"} 2\n' in capsys.readouterr().out
    cli.main(["status"])
    shown = capsys.readouterr().out
    assert "2 calls" in shown and "secret" not in shown


def test_ship_sends_what_was_left_and_keeps_what_was_refused(
    folder: Path, server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    left(folder, tag("a"), tag("bad"), tag("b"))
    server.answer = refuse
    assert cli.main(["ship"]) == 0
    said = capsys.readouterr().out
    assert "3 calls sent, 0 files left" in said and "secret" not in said
    assert cli.main(["status"]) == 1
    assert "1 calls" in (shown := capsys.readouterr().out) and "400 INVALID_PARAMETER_VALUE: no" in shown


def test_ship_says_why_it_could_not(folder: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    left(folder, tag("a"))
    server.answer = lambda name, body: Away("nobody there", reached=False)
    assert cli.main(["ship", "--seconds", "0.5"]) == 1
    assert "1 files left (nobody there)" in capsys.readouterr().out


def test_ship_while_switched_off_sends_nothing(folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    left(folder, tag("a"))
    monkeypatch.setenv("MLFLOW_ENABLE_TRACKING", "false")
    assert cli.main(["ship"]) == 1 and server.sent == []


@pytest.fixture
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ship_as_a_service_sends_what_appears_and_ends_when_told(
    folder: Path,
    server: Server,
    _handlers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    left(folder, tag("first"))
    server.answer = lambda name, body: Away("nobody there", reached=False)
    monkeypatch.setattr(cli, "SERVICE_EVERY", 0.3)
    sent: list[str] = []

    def applications() -> None:
        try:
            while not server.sent:
                time.sleep(0.01)
            server.answer = None
            wait_until_empty(folder)
            left(folder, tag("later"))
            wait_until_empty(folder)
            sent.extend(t["key"] for _, name, body in server.sent if name == "runs/log-batch" for t in body["tags"])
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=applications)
    thread.start()
    assert cli.main(["ship", "--service"]) == 0
    thread.join()
    assert sent == ["first", "first", "later"], "the first was tried twice"
    assert capsys.readouterr().out.count("nobody there") == 1


def wait_until_empty(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while segment_files(folder):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_purge_must_be_told_what_and_that_it_is_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["purge"]) == 2 and "--refused or --everything" in capsys.readouterr().err
    assert cli.main(["purge", "--everything"]) == 2 and "--yes" in capsys.readouterr().err


def test_purge_asks_a_person(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    path = left(folder, tag("a"))
    monkeypatch.setattr(sys, "stdin", Terminal("no\n"))
    assert cli.main(["purge", "--everything"]) == 1 and path.exists()
    monkeypatch.setattr(sys, "stdin", Terminal("yes\n"))
    assert cli.main(["purge", "--everything"]) == 0 and not path.exists()


def test_purge_of_what_was_refused_keeps_what_waits(folder: Path, server: Server) -> None:
    left(folder, tag("bad"))
    server.answer = refuse
    cli.main(["ship"])
    waiting = left(folder, tag("a"))
    (folder / "quarantine").mkdir()
    (folder / "quarantine" / "x.bin").write_bytes(b"x")
    assert cli.main(["status"]) == 1
    assert cli.main(["purge", "--refused", "--yes"]) == 0
    assert cli.main(["status"]) == 0 and waiting.exists() and State(folder).rejected() == []


def test_purge_of_everything_spares_files_of_processes_that_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = left(folder, tag("a"))
    (folder / "blobs" / "x").mkdir(parents=True)
    (folder / "blobs" / "x" / "a.txt").write_text("x")
    living = Spool(Settings(uri=URI, spool=folder))
    living.append(tag("b"))
    assert cli.main(["purge", "--everything", "--yes"]) == 0
    assert not gone.exists() and living.segments[0].path.exists() and (folder / "blobs" / "x" / "a.txt").exists()
    assert "1 files of running processes kept" in capsys.readouterr().out
    living.segments[0].close()
    cli.main(["purge", "--everything", "--yes"])
    assert segment_files(folder) == [] and not (folder / "blobs").exists()


def test_lost_calls_are_in_the_status(folder: Path) -> None:
    left(folder, tag("a"))
    State(folder).add("calls lost", 3)
    assert cli.main(["status"]) == 1 and cli.describe(folder)["lost"] == 3


def test_a_setting_that_cannot_be_meant_is_a_usage_error(
    folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left(folder, tag("a"))
    monkeypatch.setenv("LIFTLOCK_TRACKING_FSYNC", "sometimes")
    assert cli.main(["ship"]) == 2 and "LIFTLOCK_TRACKING_FSYNC" in capsys.readouterr().err


def test_damage_is_counted(folder: Path, server: Server) -> None:
    path = left(folder, tag("a"))
    path.write_bytes(path.read_bytes() + encode(b"{}")[:-1])
    assert cli.main(["ship"]) == 0 and cli.main(["status"]) == 1 and cli.describe(folder)["quarantined"] == 1
