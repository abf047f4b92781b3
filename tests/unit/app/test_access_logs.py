"""Access logs of every format, and what becomes of the clients in them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from liftlock.app.clients import Read, gate_logs, inventory, parse, read_logs
from liftlock.errors import ReleaseError, UsageError
from liftlock.knowledge.catalogue import load
from liftlock.knowledge.compatibility import State
from liftlock.knowledge.fates import Endpoints
from liftlock.model.release import Release

COMBINED = '10.0.0.{n} - {user} [20/Nov/2026:{at} +0000] "{request} HTTP/1.1" {status} 512 "-" "{agent}"'
OLD, NEW = Release(version="2.9.2"), Release(version="3.17.2")


def line(request: str, agent: str = "", *, n: int = 1, status: int = 200, at: str = "10:00:00", user: str = "-") -> str:
    return COMBINED.format(n=n, request=request, agent=agent, status=status, at=at, user=user)


def read(tmp_path: Path, *lines: str, since: float = 0.0) -> Read:
    log = tmp_path / "access.log"
    log.write_text("\n".join(lines) + "\n")
    return read_logs([log], Endpoints(load()), since=since)


@pytest.mark.parametrize(
    ("text", "verb", "path", "agent", "status", "timed"),
    [
        (line("GET /health", "curl/8"), "GET", "/health", "curl/8", 200, True),
        (line("POST /api/2.0/x?y=1", "a \\\"b\\\" c", user="a b"), "POST", "/api/2.0/x", 'a \\"b\\" c', 200, True),
        ('h - - [20/Nov/2026:10:00:00 +0100] "GET / HTTP/1.0" 304 -', "GET", "/", "", 304, True),
        ("2026-11-20T10:00:00Z mlflow-1 | " + line("GET /version", "x"), "GET", "/version", "x", 200, True),
        ('INFO:     127.0.0.1:53022 - "PUT /a/y HTTP/1.1" 404 Not Found', "PUT", "/a/y", "", 404, False),
        ('INFO:     [::1]:53022 - "GET /z HTTP/1.1" 200 OK', "GET", "/z", "", 200, False),
        (
            '{"at":1,"peer":"p","verb":"GET","path":"/q","agent":"g","client":"3.4.0","read":true,"status":200,"us":5}',
            "GET", "/q", "g", 200, True,
        ),
    ],
)  # fmt: skip
def test_formats(text: str, verb: str, path: str, agent: str, status: int, timed: bool) -> None:
    found = parse(text)
    assert found is not None
    assert (found.verb, found.path, found.agent, found.status) == (verb, path, agent, status)
    assert bool(found.at) is timed


@pytest.mark.parametrize(
    "text",
    [
        "", "starting gunicorn 21.2.0", '{"half": ', "[2026-11-20 10:00:00 +0000] [7] [INFO] Booting worker",
        'h - - [40/Foo/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1 "-" "-"', 'h - - [x] "\\x16\\x03" 400 0',
    ],
)  # fmt: skip
def test_what_is_no_request(text: str) -> None:
    assert parse(text) is None


def test_clients_are_told_apart_and_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        line("POST /api/2.0/mlflow/runs/create", "mlflow-python-client/2.9.2"),
        line("GET /team/api/2.0/mlflow/runs/get?run_id=1", "mlflow-python-client/2.9.2", n=2, at="11:00:00"),
        line(
            "GET /api/2.0/mlflow-artifacts/artifacts/1/ab/artifacts/a/b.txt", "mlflow-python-client/2.9.2", status=404
        ),
        line("POST /api/2.0/mlflow/runs/search", "curl/8.5.0"),
        line("GET /favicon.ico", "Mozilla/5.0"),
        "",
        "Booting worker",
    )
    assert (found.lines, found.strange) == (5, 1)
    by_kind = {each.kind: each for each in found.clients}
    python = by_kind["mlflow-python-client"]
    assert (python.version, python.requests, python.writes, python.failed, python.peers) == ("2.9.2", 3, 1, 1, 2)
    assert python.last - python.first == 3600
    assert python.endpoints == {
        "GET /api/2.0/mlflow-artifacts/artifacts/{artifact_path}": 1,
        "GET /api/2.0/mlflow/runs/get": 1,
        "POST /api/2.0/mlflow/runs/create": 1,
    }
    assert by_kind["curl"].writes == 0, "a search by POST reads"
    assert (by_kind["browser"].endpoints, by_kind["browser"].other) == ({}, 1)


def test_rotated_and_zipped_logs_and_a_period(tmp_path: Path) -> None:
    old = line("GET /health", "curl/8", at="01:00:00")
    with gzip.open(tmp_path / "access.log.1.gz", "wt") as file:
        file.write(old + "\n")
    new = tmp_path / "access.log"
    new.write_text(line("GET /health", "curl/8") + "\n" + '{"verb": \xff\n')
    both = read_logs([tmp_path / "access.log.1.gz", new], Endpoints(load()))
    assert both.clients[0].requests == 2
    moment = both.clients[0].last
    assert read_logs([tmp_path / "access.log.1.gz", new], Endpoints(load()), since=moment).clients[0].requests == 1
    assert gate_logs(tmp_path / "nothing") == ()
    assert {path.name for path in gate_logs(tmp_path)} == {"access.log", "access.log.1.gz"}


def test_each_client_works_breaks_or_is_unknown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    preview = "POST /api/2.0/preview/mlflow/registered-models/create"
    log.write_text(
        "\n".join(
            [
                line("POST /api/2.0/mlflow/runs/create", "mlflow-python-client/2.9.2"),
                line(preview, "mlflow-python-client/1.30.1"),
                line("PATCH /api/2.0/mlflow/experiments/permissions/update", "python-requests/2"),
                line("GET /api/2.0/mlflow/experiments/search", "Mozilla/5.0"),
                line("GET /api/2.0/mlflow/experiments/search", "mlflow-python-client/0.9.0"),
                line("GET /robots.txt", "bot/1"),
            ]
        )
    )
    found = inventory([log], load(), source=OLD, target=NEW)
    fates = {f"{each.seen.kind} {each.seen.version}".strip(): each for each in found.fates}
    assert fates["mlflow-python-client 2.9.2"].state is State.WORKS
    assert fates["mlflow-python-client 2.9.2"].evidence.startswith("measured on")
    broken = fates["mlflow-python-client 1.30.1"]
    assert broken.state is State.BREAKS
    assert broken.gone == (preview,)
    assert preview in broken.already, "2.9.2 has it no more either"
    lost = fates["python-requests"]
    assert (lost.state, lost.already) == (State.BREAKS, ())
    assert fates["browser"].state is State.WORKS
    assert fates["mlflow-python-client 0.9.0"].state is State.UNKNOWN, "all its endpoints are there, its answers unseen"
    assert fates["bot"].state is State.UNKNOWN
    assert inventory([log], load(), source=OLD, target=None).fates == ()
    with pytest.raises(ReleaseError, match="knows no MLflow"):
        inventory([log], load(), source=OLD, target=Release(version="77.0.0"))


def test_an_endpoint_that_lost_a_field_is_no_promise(tmp_path: Path) -> None:
    """MLflow 2.0 no longer answered an experiment's runs: whether a script used them nobody knows."""
    log = tmp_path / "log"
    get, search = "GET /api/2.0/mlflow/experiments/get", "POST /api/2.0/mlflow/runs/search"
    log.write_text("\n".join([line(get, "python-requests/2"), line(search, "curl/8")]))
    found = inventory([log], load(), source=Release(version="1.30.1"), target=OLD)
    fates = {each.seen.kind: each for each in found.fates}
    lost = fates["python-requests"]
    assert (lost.state, lost.lost) == (State.UNKNOWN, (f"{get} no longer answers runs",))
    assert "lost fields it may use" in lost.evidence
    kept = fates["curl"]
    assert (kept.state, kept.lost) == (State.WORKS, ())
    assert "1 of 1 could be compared" in kept.evidence


def test_a_log_without_a_request_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no line is a request"):
        read(tmp_path, "hello", "world")
    with pytest.raises(UsageError, match="cannot be read"):
        read_logs([tmp_path / "none"], Endpoints(load()))
    broken = tmp_path / "x.gz"
    broken.write_bytes(b"no gzip at all")
    with pytest.raises(UsageError, match="cannot be read"):
        read_logs([broken], Endpoints(load()))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from liftlock.cli.main import main

    log = tmp_path / "log"
    log.write_text(line("POST /api/2.0/mlflow/runs/create", "mlflow-python-client/2.9.2") + "\n")
    with pytest.raises(SystemExit) as ended:
        main(["clients", str(log), "--from", "2.9.2", "--to", "3.17.2", "--endpoints"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "works" in shown
    assert "POST /api/2.0/mlflow/runs/create" in shown
    log.write_text(line("POST /api/2.0/preview/mlflow/registered-models/create", "mlflow-python-client/1.30.1") + "\n")
    with pytest.raises(SystemExit) as ended:
        main(["clients", str(log), "--from", "2.9.2", "--to", "3.17.2", "--json"])
    assert ended.value.code == 1
    assert json.loads(capsys.readouterr().out)["fates"][0]["state"] == "breaks"
    with pytest.raises(SystemExit) as ended:
        main(["clients", str(log), "--json"])
    assert ended.value.code == 0
