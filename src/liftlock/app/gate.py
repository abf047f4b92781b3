"""`gate install` and `gate remove`: put a gate on the port clients use and the server behind it, and the way back.

Both look at the world before each step and so can be run again after a crash: the record in the gate's directory says
which address is public and which is the server's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psutil

from liftlock.app import gate_process as process
from liftlock.app import gate_take_over, server
from liftlock.app.gate_process import directory as directory
from liftlock.app.workspace import Workspace
from liftlock.errors import LiftlockError, Refused
from liftlock.gate.client import GateClient
from liftlock.gate.installed import Installed
from liftlock.gate.installed import load as load_record
from liftlock.gate.installed import save as save_record
from liftlock.gate.model import Address
from liftlock.gate.protocol import Reply
from liftlock.releases.proof import free_port
from liftlock.runtimes import process_tree


def installed(workspace: Workspace) -> Installed | None:
    """What `install` recorded, or None."""
    return load_record(workspace.config.state_directory / "gate")


def install(workspace: Workspace, *, port: int | None = None, take_over: bool = False, drain: float = 30.0) -> Reply:
    """Put a gate on the server's address and the server behind it, on `port` (default: a free one).

    With one restart: requests that arrive meanwhile wait in the gate. A running server is needed for nothing, a stopped
    one stays stopped no longer. When the server does not come up behind the gate, everything is put back, then its
    error raised. With `take_over` without a pause, see `gate_take_over`; the old server's connections have `drain`
    seconds to end. Raises Refused when a gate is installed already.
    """
    place = process.directory(workspace)
    known = installed(workspace)
    unfinished = known is not None and known.leaving is not None
    if unfinished or (take_over and known is None):
        gate_take_over.take_over(workspace, known, port=port, drain=drain)
    else:
        _with_a_restart(workspace, known, port=port)
    with GateClient(place / "control.sock") as client:
        return client.status()


def _with_a_restart(workspace: Workspace, known: Installed | None, *, port: int | None) -> None:
    place = process.directory(workspace)
    stands = known is not None and process.running(place) is not None and process.behind(workspace, known)
    if known is not None and stands and workspace.server():
        raise Refused(f"a gate is installed already on {known.public}", hint="See `liftlock gate status`.")
    section = workspace.config.server
    record = known or Installed(
        public=Address(host=section.host, port=section.port),
        private=Address(host="127.0.0.1", port=port or free_port()),
    )
    with workspace.lock("gate install"):
        save_record(place, record)
        if not process.behind(workspace, record):
            _stop(workspace)
        process.start(workspace, place, record)
        behind = process.recorded(workspace, process.listening(workspace, record.private))
    try:
        if behind.server() is None:
            server.start(behind)
    except LiftlockError:
        remove(behind)
        raise


def remove(workspace: Workspace) -> None:
    """Stop the server and the gate, and start the server on the address clients use. One restart.

    None where a take-over had not ended and the old server still has the port. The access log stays. Raises Refused
    when no gate is installed, or when it holds writes or sends them to another server than the configured one.
    """
    place = process.directory(workspace)
    record = installed(workspace)
    if record is None:
        raise Refused("no gate is installed")
    if gate_take_over.give_back(workspace, record):
        return
    with workspace.lock("gate remove"):
        reply = process.running(place)
        if reply is not None and (reply.state.upstream != record.private or reply.state.holder):
            raise Refused(
                f"the gate is {reply.state.phase} with upstream {reply.state.upstream}, not just in front of "
                f"{record.private}",
                hint="Finalize or abort the upgrade first.",
            )
        if process.behind(workspace, record):
            _stop(workspace)
        if reply is not None:
            process.end(reply.pid, place)
        direct = process.recorded(workspace, process.listening(workspace, record.public))
    if direct.server() is None:
        server.start(direct)
    process.forget(place)


def reviver(workspace: Workspace) -> Callable[[], None]:
    """What starts a dead gate again, with the words it runs with now (or, if it is dead now, as `install` does).

    Its state file says where people belong; one that is alive, frozen too, is left alone.
    """
    place = process.directory(workspace)
    reply = process.running(place)
    known = psutil.Process(reply.pid) if reply is not None else None
    argv = known.cmdline() if known is not None else []

    def revive() -> None:
        if (known is not None and process_tree.lives(known)) or process.running(place) is not None:
            return
        record = installed(workspace)
        with contextlib.suppress(LiftlockError):  # then whoever asks the gate next says that it does not answer
            if argv:
                process.launch(argv, place)
            elif record is not None:
                process.start(workspace, place, record)

    return revive


def _stop(workspace: Workspace) -> None:
    handle = workspace.server()
    if handle is not None:
        workspace.runtime.stop(handle)
