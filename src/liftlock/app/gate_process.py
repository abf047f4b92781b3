"""The gate's process as `gate install` keeps it: started in the background, asked, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from liftlock import clock
from liftlock.app.workspace import Workspace
from liftlock.describe.launch import server_spec
from liftlock.effects import side_effect
from liftlock.errors import Refused
from liftlock.files import PRIVATE_FILE, private_directory
from liftlock.gate import state
from liftlock.gate.client import GateClient
from liftlock.gate.installed import RECORD, Installed
from liftlock.gate.model import Address, GateError
from liftlock.gate.protocol import Reply
from liftlock.proc import spawn

_SETTINGS = ("control.sock", "lock", "state.json", RECORD)
_START = 15.0


def directory(workspace: Workspace) -> Path:
    """The gate's own directory (made on first use)."""
    return private_directory(workspace.state / "gate")


def running(place: Path) -> Reply | None:
    """What the gate of this directory says of itself; None when there is none."""
    with GateClient(place / "control.sock") as client, contextlib.suppress(GateError):
        return client.status()
    return None


def words(workspace: Workspace, record: Installed, place: Path) -> list[str]:
    """`gate run` with what this deployment needs, as words for a command line after the program's own."""
    config = workspace.config
    prefix = server_spec(config, python=config.python, release=config.release).static_prefix
    return [
        "gate", "run", "--listen", str(record.public), "--upstream", str(record.private), "--dir", str(place),
        *(["--static-prefix", prefix] if prefix else []),
    ]  # fmt: skip


def start(workspace: Workspace, place: Path, record: Installed, *, beside: int | None = None) -> None:
    """Start it unless it runs. `beside`: the user whose server lends it the port. Raises Refused when it ends at once.

    Refused too when its state says that another server is live.
    """
    if running(place) is not None:
        return
    known = state.load(place / "state.json")
    if known is not None and known.upstream != record.private:
        raise Refused(
            f"the gate's state in {place} says that {known.upstream} is live, not {record.private}",
            hint="Start that server and the gate with `liftlock gate run`, or remove the state if it is of the past.",
        )
    argv = [sys.executable, "-c", "from liftlock.cli.main import main; main()", *words(workspace, record, place)]
    if beside is not None:
        argv += ["--beside", str(beside)]
    launch(argv, place)


def launch(argv: Sequence[str], place: Path) -> None:
    """Start it with these words and wait until it answers. Raises Refused."""
    log = place / "gate.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "ab") as output, side_effect("start gate"):
        child = spawn(argv, env=dict(os.environ), cwd=place, stdout=output)
    deadline = clock.monotonic() + _START
    while running(place) is None:
        if child.poll() is not None or clock.monotonic() > deadline:
            raise Refused("the gate did not start", hint=f"See {log}, then run the command again.")
        clock.sleep(0.05)


def end(pid: int, place: Path) -> None:
    """End it; what it has in flight is finished."""
    with side_effect("stop gate"), contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)  # its own control socket has just told us this PID
    deadline = clock.monotonic() + _START
    while running(place) is not None and clock.monotonic() < deadline:
        clock.sleep(0.05)


def forget(place: Path) -> None:
    """Remove all that says that a gate was installed; the access log stays."""
    with side_effect("forget gate"):
        for name in _SETTINGS:
            (place / name).unlink(missing_ok=True)


def behind(workspace: Workspace, record: Installed) -> bool:
    """Whether the configured server listens behind the gate."""
    section = workspace.config.server
    return Address(host=section.host, port=section.port) == record.private


def listening(workspace: Workspace, address: Address, *, slot: str | None = None) -> Workspace:
    """The deployment with its server on another address (and in another slot); nothing is written."""
    config = workspace.config
    section = msgspec.structs.replace(config.server, host=address.host, port=address.port)
    if slot is not None:
        section = msgspec.structs.replace(section, slot=slot)
    return Workspace(msgspec.structs.replace(config, server=section))


def recorded(workspace: Workspace, changed: Workspace) -> Workspace:
    """`changed`, from now on in liftlock.toml too."""
    if changed.config.server != workspace.config.server:
        changed.config.save()
    return changed
