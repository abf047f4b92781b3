"""Putting a gate in front of a running server and taking it away, killed at every action of it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import threading
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftlock.gate.client import GateClient
from liftlock.gate.model import GateError
from tests.support.deployment import Deployment

INSTALL = ("gate", "install", "--yes", "--json")
REMOVE = ("gate", "remove", "--yes")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path / "site").make()
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


def test_a_gate_comes_and_goes_with_one_restart_each(made: Deployment) -> None:
    answers: list[object] = []
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            try:
                answers.append(health(made.port))
            except ConnectionRefusedError:
                answers.append("refused")  # the moment between the two listeners; MLflow's clients connect again
            except (OSError, http.client.HTTPException) as error:
                answers.append(repr(error))
            time.sleep(0.01)

    thread = threading.Thread(target=use)
    thread.start()
    reply = json.loads(made.ok(*INSTALL))
    stop.set()
    thread.join()
    assert reply["listen"] == f"127.0.0.1:{made.port}"
    private = reply["state"]["upstream"]["port"]
    assert server_of(made) == ("127.0.0.1", private)
    assert health(made.port) == health(private) == 200
    assert 200 in answers
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
@pytest.mark.parametrize("words", [INSTALL, REMOVE], ids=["install", "remove"])
def test_killed_at_an_action_it_finishes_when_run_again(words: tuple[str, ...], some: bool, made: Deployment) -> None:
    if words is REMOVE:
        made.ok(*INSTALL)
    names = ["record gate", "stop server", "start gate", "write configuration", "start server"]
    if words is REMOVE:
        names = ["stop server", "stop gate", "write configuration", "start server", "forget gate"]
    for name in names:
        if some and name not in ("stop server", "write configuration"):
            continue
        for point in (f"after:{name}",) if some else (f"before:{name}", f"after:{name}"):
            done = made.liftlock(*words, env={"LIFTLOCK_CRASH_AT": point})
            assert done.returncode in (-signal.SIGKILL, 0, 3), f"{point}: {done.stderr}"
            again = made.liftlock(*words)
            assert again.returncode in (0, 3), f"after {point}: {again.stderr}"
            assert health(made.port) == 200, f"after {point}"
            there = made.liftlock("gate", "status").returncode == 0
            assert there is (words is INSTALL), f"after {point}"
            # Back, so that the next point starts from the same state.
            made.ok(*(REMOVE if words is INSTALL else INSTALL))
