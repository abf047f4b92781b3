from __future__ import annotations

import socket
from pathlib import Path

import pytest

from liftlock.gate.address import fitting


@pytest.mark.parametrize("depth", [0, 12])
def test_a_socket_is_reached_however_deep_it_lies(tmp_path: Path, depth: int) -> None:
    directory = tmp_path.joinpath(*["a-directory"] * depth)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "control.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        with fitting(path) as name:
            server.bind(name)
        server.listen()
        assert path.is_socket()
        with fitting(path) as name:
            client.connect(name)
        other, _ = server.accept()
        with other:
            client.sendall(b"x")
            assert other.recv(1) == b"x"


def test_a_short_path_is_used_as_it_is() -> None:
    with fitting(Path("/short/control.sock")) as name:
        assert name == "/short/control.sock"
