"""`gate install` and `gate remove`: put a gate on the port clients use and the server behind it, and the way back.

Both look at the world before each step and so can be run again after a crash: the record in the gate's directory says
which address is public and which is the server's own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import psutil

from liftlock import clock
from liftlock.app import server
from liftlock.app.workspace import Workspace
from liftlock.describe.launch import server_spec
from liftlock.effects import side_effect
from liftlock.errors import LiftlockError, Refused
from liftlock.files import PRIVATE_FILE, private_directory
from liftlock.gate import state
from liftlock.gate.client import GateClient
from liftlock.gate.installed import RECORD, Installed
from liftlock.gate.installed import load as load_record
from liftlock.gate.installed import save as save_record
from liftlock.gate.model import Address, GateError
from liftlock.gate.protocol import Reply
from liftlock.proc import spawn
from liftlock.releases.proof import free_port
from liftlock.runtimes import process_tree

_SETTINGS = ("control.sock", "lock", "state.json", RECORD)
_START = 15.0


def directory(workspace: Workspace) -> Path:
    """The gate's own directory (made on first use)."""
    return private_directory(workspace.state / "gate")


def installed(workspace: Workspace) -> Installed | None:
    """What `install` recorded, or None."""
    return load_record(workspace.config.state_directory / "gate")


def install(workspace: Workspace, *, port: int | None = None) -> Reply:
    """Stop the server, start a gate on its address, start the server behind it on `port` (default: a free one).

    One restart: requests that arrive meanwhile wait in the gate. A running server is needed for nothing, a stopped one
    stays stopped no longer. When the server does not come up behind the gate, everything is put back, then its
    error raised. Raises Refused when a gate is installed already.
    """
    place = directory(workspace)
    known = installed(workspace)
    if known is not None and _running(place) is not None and _behind(workspace, known) and workspace.server():
        raise Refused(f"a gate is installed already on {known.public}", hint="See `liftlock gate status`.")
    section = workspace.config.server
    record = known or Installed(
        public=Address(host=section.host, port=section.port),
        private=Address(host="127.0.0.1", port=port or free_port()),
    )
    with workspace.lock("gate install"):
        save_record(place, record)
        if not _behind(workspace, record):
            _stop(workspace)
        _start(workspace, place, record)
        behind = _listening(workspace, record.private)
    try:
        if behind.server() is None:
            server.start(behind)
    except LiftlockError:
        remove(behind)
        raise
    with GateClient(place / "control.sock") as client:
        return client.status()


def remove(workspace: Workspace) -> None:
    """Stop the server and the gate, and start the server on the address clients use. One restart.

    The access log stays. Raises Refused when no gate is installed, or when it holds writes or sends them to another
    server than the configured one.
    """
    place = directory(workspace)
    record = installed(workspace)
    if record is None:
        raise Refused("no gate is installed")
    with workspace.lock("gate remove"):
        reply = _running(place)
        if reply is not None and (reply.state.upstream != record.private or reply.state.holder):
            raise Refused(
                f"the gate is {reply.state.phase} with upstream {reply.state.upstream}, not just in front of "
                f"{record.private}",
                hint="Finalize or abort the upgrade first.",
            )
        if _behind(workspace, record):
            _stop(workspace)
        if reply is not None:
            _end(reply.pid, place)
        direct = _listening(workspace, record.public)
    if direct.server() is None:
        server.start(direct)
    with side_effect("forget gate"):
        for name in _SETTINGS:
            (place / name).unlink(missing_ok=True)


def reviver(workspace: Workspace) -> Callable[[], None]:
    """What starts a dead gate again, with the words it runs with now (or, if it is dead now, as `install` does).

    Its state file says where people belong; one that is alive, frozen too, is left alone.
    """
    place = directory(workspace)
    reply = _running(place)
    known = psutil.Process(reply.pid) if reply is not None else None
    argv = known.cmdline() if known is not None else []

    def revive() -> None:
        if (known is not None and process_tree.lives(known)) or _running(place) is not None:
            return
        record = installed(workspace)
        with contextlib.suppress(LiftlockError):  # then whoever asks the gate next says that it does not answer
            if argv:
                _spawn(argv, place)
            elif record is not None:
                _start(workspace, place, record)

    return revive


def _behind(workspace: Workspace, record: Installed) -> bool:
    section = workspace.config.server
    return Address(host=section.host, port=section.port) == record.private


def _listening(workspace: Workspace, address: Address) -> Workspace:
    """The deployment with its server on another address from now on, in liftlock.toml too."""
    config = workspace.config
    section = msgspec.structs.replace(config.server, host=address.host, port=address.port)
    if section == config.server:
        return workspace
    changed = msgspec.structs.replace(config, server=section)
    changed.save()
    return Workspace(changed)


def _stop(workspace: Workspace) -> None:
    handle = workspace.server()
    if handle is not None:
        workspace.runtime.stop(handle)


def _running(place: Path) -> Reply | None:
    with GateClient(place / "control.sock") as client, contextlib.suppress(GateError):
        return client.status()
    return None


def _start(workspace: Workspace, place: Path, record: Installed) -> None:
    if _running(place) is not None:
        return
    config = workspace.config
    prefix = server_spec(config, python=config.python, release=config.release).static_prefix
    known = state.load(place / "state.json")
    if known is not None and known.upstream != record.private:
        raise Refused(
            f"the gate's state in {place} says that {known.upstream} is live, not {record.private}",
            hint="Start that server and the gate with `liftlock gate run`, or remove the state if it is of the past.",
        )
    argv = [
        sys.executable, "-c", "from liftlock.cli.main import main; main()", "gate", "run",
        "--listen", str(record.public), "--upstream", str(record.private), "--dir", str(place),
        *(["--static-prefix", prefix] if prefix else []),
    ]  # fmt: skip
    _spawn(argv, place)


def _spawn(argv: Sequence[str], place: Path) -> None:
    log = place / "gate.log"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, PRIVATE_FILE)
    with os.fdopen(descriptor, "ab") as output, side_effect("start gate"):
        child = spawn(argv, env=dict(os.environ), cwd=place, stdout=output)
    deadline = clock.monotonic() + _START
    while _running(place) is None:
        if child.poll() is not None or clock.monotonic() > deadline:
            raise Refused("the gate did not start", hint=f"See {log}, then run the command again.")
        clock.sleep(0.05)


def _end(pid: int, place: Path) -> None:
    with side_effect("stop gate"), contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)  # its own control socket has just told us this PID
    deadline = clock.monotonic() + _START
    while _running(place) is not None and clock.monotonic() < deadline:
        clock.sleep(0.05)
