"""Putting a gate in front of a running server and taking it away, killed at every action of it."""

from __future__ import annotations

import configparser
import contextlib
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.gate.client import GateClient
from liftlock.gate.model import GateError
from tests.support.deployment import Deployment
from tests.support.gate import until
from tests.support.tracing import needs_tracing

INSTALL = ("gate", "install", "--yes", "--json")
TAKE_OVER = (*INSTALL, "--take-over")
JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
REMOVE = ("gate", "remove", "--yes")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path / "site", server_environment={JOBS: "false"}).make()
    before = deployment.config.read_text()
    try:
        yield deployment
    finally:
        with GateClient(deployment.state / "gate" / "control.sock") as client, contextlib.suppress(GateError):
            os.kill(client.status().pid, signal.SIGKILL)
        deployment.end()
    assert before


def health(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/health")
    return connection.getresponse().status


def server_of(deployment: Deployment) -> tuple[str, int]:
    section = tomllib.loads(deployment.config.read_text())["server"]
    return section.get("host", "127.0.0.1"), section["port"]


@contextlib.contextmanager
def used(port: int) -> Iterator[list[object]]:
    """What a client gets that asks all the time, by a new connection each time."""
    answers: list[object] = []
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            try:
                answers.append(health(port))
            except ConnectionRefusedError:
                answers.append("refused")
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))
            time.sleep(0.01)

    thread = threading.Thread(target=use)
    thread.start()
    try:
        yield answers
    finally:
        stop.set()
        thread.join()


def test_a_gate_comes_and_goes_with_one_restart_each(made: Deployment) -> None:
    with used(made.port) as answers:
        reply = json.loads(made.ok(*INSTALL))
    assert reply["listen"] == f"127.0.0.1:{made.port}"
    private = reply["state"]["upstream"]["port"]
    assert server_of(made) == ("127.0.0.1", private)
    assert health(made.port) == health(private) == 200
    assert 200 in answers
    # Refused in the moment between the two listeners; MLflow's clients connect again.
    assert {each for each in answers if isinstance(each, int)} == {200}, "what reached the gate was answered"

    assert made.liftlock(*INSTALL).returncode == 3  # installed already
    assert "writes held" in made.ok("gate", "status")
    made.ok("server", "restart")  # behind the gate
    assert health(made.port) == 200

    made.ok(*REMOVE)
    assert server_of(made) == ("127.0.0.1", made.port)
    assert health(made.port) == 200
    assert made.liftlock("gate", "status").returncode == 3
    assert made.liftlock(*REMOVE).returncode == 3
    assert not list((made.state / "gate").glob("*.json"))
    made.ok(*INSTALL)  # and again
    assert health(made.port) == 200


@needs_tracing
def test_a_port_is_taken_over_without_a_refused_or_failed_request(made: Deployment) -> None:
    with used(made.port) as answers:
        reply = json.loads(made.ok(*TAKE_OVER))
        assert made.child is not None
        assert made.child.wait(5) == -signal.SIGTERM, "the old server is stopped"
    assert set(answers) == {200}
    assert len(answers) > 20
    assert reply["listen"] == f"127.0.0.1:{made.port}"
    private = reply["state"]["upstream"]["port"]
    assert server_of(made) == ("127.0.0.1", private)
    assert health(made.port) == health(private) == 200

    assert made.liftlock(*TAKE_OVER).returncode == 3  # installed already
    made.ok("server", "restart")
    made.ok(*REMOVE)
    assert server_of(made) == ("127.0.0.1", made.port)
    made.ok(*TAKE_OVER)  # and again, from a server that liftlock started
    assert health(made.port) == 200


@needs_tracing
def test_what_the_old_server_has_begun_is_finished_before_it_is_stopped(made: Deployment) -> None:
    assert made.child is not None
    with socket.create_connection(("127.0.0.1", made.port)) as begun:
        begun.sendall(b"GET /health HT")
        child = made.spawn(*TAKE_OVER)
        until(lambda: made.liftlock("gate", "status").returncode == 0, seconds=60)
        time.sleep(1)
        assert made.child.poll() is None
        begun.sendall(b"TP/1.0\r\n\r\n")
        assert b" 200 " in begun.recv(4096)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, out + err
    assert made.child.wait(5) == -signal.SIGTERM


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ((f'{JOBS} = "false"', f'{JOBS} = "true"'), "jobs"),
        (("port = ", 'host = "127.0.0.2"\nport = '), "listens on 127.0.0.1"),
        (("port = ", "port = 1 # "), "no server runs"),
    ],
)
def test_a_port_that_cannot_be_taken_over_is_left_alone(given: tuple[str, str], why: str, made: Deployment) -> None:
    before = made.config.read_text()
    made.config.write_text(before.replace(*given))
    assert made.config.read_text() != before
    done = made.liftlock(*TAKE_OVER)
    assert done.returncode == 3
    assert why in done.stderr
    assert health(made.port) == 200
    assert made.liftlock("gate", "status").returncode == 3
    assert not (made.state / "gate" / "installed.json").exists()


@needs_tracing
def test_a_take_over_that_was_cut_off_can_be_given_up(made: Deployment) -> None:
    done = made.liftlock(*TAKE_OVER, env={"LIFTLOCK_CRASH_AT": "after:write configuration"})
    assert done.returncode == -signal.SIGKILL
    assert server_of(made) != ("127.0.0.1", made.port)
    assert "`liftlock gate install` goes on" in made.ok("gate", "status")
    with used(made.port) as answers:
        made.ok(*REMOVE)
    assert set(answers) == {200}
    assert server_of(made) == ("127.0.0.1", made.port)
    assert made.child is not None
    assert made.child.poll() is None, "the old server has the port again"
    assert made.liftlock("gate", "status").returncode == 3


def test_the_unit_runs_the_gate(made: Deployment) -> None:
    assert made.liftlock("gate", "unit").returncode == 3  # there is none yet
    made.ok(*INSTALL)
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # keys of systemd are told apart by case
    unit.read_string(made.ok("gate", "unit"))
    with GateClient(made.state / "gate" / "control.sock") as client:
        os.kill(client.status().pid, signal.SIGKILL)
    service = unit["Service"]
    child = subprocess.Popen(shlex.split(service["ExecStart"]), cwd=service["WorkingDirectory"])
    try:
        until(lambda: made.liftlock("gate", "status").returncode == 0)
        assert health(made.port) == 200
    finally:
        child.terminate()
        assert child.wait(20) == 0


def test_a_server_that_does_not_start_behind_the_gate_is_put_back(made: Deployment) -> None:
    # Somebody else sits on the port that the server should get.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = made.liftlock(*INSTALL[:-1], "--port", str(taken.getsockname()[1]))
        assert done.returncode != 0
    assert server_of(made) == ("127.0.0.1", made.port)
    assert health(made.port) == 200
    assert made.liftlock("gate", "status").returncode == 3


EVERY = pytest.mark.soak  # the actions between which most is left half-way run always, all of them in `make soak`


@pytest.mark.parametrize("some", [True, pytest.param(False, marks=EVERY)], ids=["some", "every"])
@pytest.mark.parametrize(
    "words",
    [INSTALL, pytest.param(TAKE_OVER, marks=needs_tracing), REMOVE],
    ids=["install", "take-over", "remove"],
)
def test_killed_at_an_action_it_finishes_when_run_again(words: tuple[str, ...], some: bool, made: Deployment) -> None:
    if words is REMOVE:
        made.ok(*INSTALL)
    names = {
        INSTALL: ["record gate", "stop server", "start gate", "write configuration", "start server"],
        TAKE_OVER: ["record gate", "start server", "share port", "start gate", "take port", "write configuration",
                    "stop server", "record gate#2"],
        REMOVE: ["stop server", "stop gate", "write configuration", "start server", "forget gate"],
    }[words]  # fmt: skip
    for name in names:
        if some and name not in ("share port", "stop server", "write configuration"):
            continue
        for point in (f"after:{name}",) if some else (f"before:{name}", f"after:{name}"):
            done = made.liftlock(*words, env={"LIFTLOCK_CRASH_AT": point})
            assert done.returncode in (-signal.SIGKILL, 0, 3), f"{point}: {done.stderr}"
            if words is TAKE_OVER:
                assert health(made.port) == 200, f"clients are served after {point}"
            again = made.liftlock(*words)
            assert again.returncode in (0, 3), f"after {point}: {again.stderr}"
            assert health(made.port) == 200, f"after {point}"
            there = made.liftlock("gate", "status").returncode == 0
            assert there is (words is not REMOVE), f"after {point}"
            # Back, so that the next point starts from the same state.
            made.ok(*(INSTALL if words is REMOVE else REMOVE))
