"""`gate install --take-over`: a gate on the port of a running server, and nobody notices.

A second server of the same release is started behind; the running one's socket is made to share its port
(`gate.common_port`), the gate listens beside it and gets every new connection; when the connections that the old server
still has have ended, it is stopped. What remains is what `gate install` makes.

Killed at any point and run again it goes on. Clients are served meanwhile: by the old server until the gate listens
(and again, should the gate die), by the gate afterwards.
"""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

from liftlock import clock
from liftlock.app import gate_process as process
from liftlock.app import server
from liftlock.app.sites import runs_jobs
from liftlock.app.workspace import Workspace
from liftlock.errors import LiftlockError, Refused
from liftlock.gate import common_port
from liftlock.gate.installed import Installed, Leaving
from liftlock.gate.installed import save as save_record
from liftlock.gate.model import Address
from liftlock.releases.proof import free_port
from liftlock.runtimes import process_sockets, process_tree
from liftlock.runtimes.interface import Handle
from liftlock.runtimes.process import ProcessRuntime
from liftlock.runtimes.process_sockets import Listening

_ASKED = 8
_POLL = 0.2


def take_over(workspace: Workspace, known: Installed | None, *, port: int | None, drain: float) -> None:
    """Begin, or go on where an earlier one was cut off (`known` says so). `drain`: seconds.

    Raises Refused before anything is done where it cannot be done; when the second server or the gate does not start,
    both are taken away again and the error raised: the old server goes on in either case.
    """
    place = process.directory(workspace)
    record = known if known is not None else _begin(workspace, port)
    leaving = record.leaving
    assert leaving is not None, "what is over is not gone on with"
    old = Handle(pid=leaving.pid, created=leaving.created)
    behind = workspace
    if not process.behind(workspace, record):
        behind = process.listening(workspace, record.private, slot="a" if leaving.slot == "b" else "b")
    try:
        if behind.server() is None:
            server.start(behind)
        with workspace.lock("gate install"):
            _place(behind, record)
            process.recorded(workspace, behind)
    except LiftlockError:
        give_back(workspace, record)
        raise
    with workspace.lock("gate install"):
        _drain(place, record, limit=drain)
        _runtime(workspace, leaving.slot).stop(old, leave_port=True)
        save_record(place, Installed(public=record.public, private=record.private))


def give_back(workspace: Workspace, record: Installed) -> bool:
    """Leave the port to the old server again; False when there is no take-over that could be taken back."""
    leaving = record.leaving
    if leaving is None or not _sockets(record):
        return False
    place = process.directory(workspace)
    with workspace.lock("gate remove"):
        reply = process.running(place)
        if reply is not None:
            process.end(reply.pid, place)
        second = _runtime(workspace, "a" if leaving.slot == "b" else "b")
        handle = second.find()
        if handle is not None:
            second.stop(handle)
        process.recorded(workspace, process.listening(workspace, record.public, slot=leaving.slot))
        process.forget(place)
    return True


def _begin(workspace: Workspace, port: int | None) -> Installed:
    workspace.require_no_run()
    config = workspace.config
    old = workspace.server()
    if old is None:
        raise Refused("no server runs whose port could be taken over", hint="Install the gate without --take-over.")
    if runs_jobs(config):
        raise Refused(
            f"the server runs MLflow's jobs, and for a moment there would be two that do ({config.release})",
            hint="Install the gate without --take-over (one restart), or with MLFLOW_SERVER_ENABLE_JOB_EXECUTION off.",
        )
    record = Installed(
        public=Address(host=config.server.host, port=config.server.port),
        private=Address(host="127.0.0.1", port=port or free_port()),
        leaving=Leaving(slot=config.server.slot, pid=old.pid, created=old.created),
    )
    found = _only(record)
    common_port.owner(found.pid, found.descriptor)
    with workspace.lock("gate install"):
        save_record(process.directory(workspace), record)
    return record


def _sockets(record: Installed) -> tuple[Listening, ...]:
    assert record.leaving is not None
    old = Handle(pid=record.leaving.pid, created=record.leaving.created)
    return process_sockets.listening(old, record.public.port) if process_tree.process_of(old) else ()


def _only(record: Installed) -> Listening:
    """The old server's one listening socket. Raises Refused when there is none, several, or one of another address."""
    found = _sockets(record)
    public = record.public
    if len(found) != 1:
        raise Refused(
            f"the server listens on port {public.port} with {len(found)} sockets that can be seen, not with one",
            hint="Run liftlock as the server's user or root; or install the gate without --take-over.",
        )
    wanted = public.host if ":" in public.host else socket.gethostbyname(public.host)
    if found[0].address != wanted:
        raise Refused(
            f"the server listens on {found[0].address}, liftlock.toml says {public.host}",
            hint="Correct server.host in liftlock.toml.",
        )
    return found[0]


def _place(behind: Workspace, record: Installed) -> None:
    """The gate, beside the old server as long as there is one. Raises Refused when it does not get all."""
    place = process.directory(behind)
    if not _sockets(record):
        process.start(behind, place, record)
        return
    found = _only(record)
    user = common_port.owner(found.pid, found.descriptor)
    common_port.lend(found.pid, found.descriptor)
    process.start(behind, place, record, beside=user)
    if not all(_answered_by_the_gate(record.public) for _ in range(_ASKED)):
        raise Refused(
            f"the server still gets new connections on port {record.public.port}",
            hint="This kernel does not share ports as Linux does. Install the gate without --take-over.",
        )


def _answered_by_the_gate(public: Address) -> bool:
    # MLflow's servers know this method no more than the gate does, but only the gate signs its answer.
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(public.host, public.host)  # noqa: S104 - a key
    answer = b""
    try:
        with closing(socket.create_connection((host, public.port), timeout=10)) as sock:
            sock.sendall(b"BREW / HTTP/1.1\r\nHost: gate\r\nConnection: close\r\n\r\n")
            while part := sock.recv(4096):
                answer += part
    except OSError:
        return False
    return b"liftlock gate" in answer


def _drain(place: Path, record: Installed, *, limit: float) -> None:
    """Wait until the old server has nothing to answer any more, for `limit` seconds at most. Raises Refused."""
    reply = process.running(place)
    if reply is None:
        raise Refused("the gate is gone; the old server still has its port", hint="Run the command again.")
    deadline = clock.monotonic() + limit
    quiet = 0
    # Twice: a connection on its way from the gate's queue to the gate looks like one of nobody's.
    while quiet < 2 and clock.monotonic() < deadline:
        clock.sleep(_POLL)
        others = process_sockets.connected(record.public.port, besides=reply.pid)
        quiet = quiet + 1 if all(common_port.at_rest(*each) for each in others) else 0


def _runtime(workspace: Workspace, slot: str) -> ProcessRuntime:
    return ProcessRuntime(workspace.state / "servers" / slot if slot else workspace.state)
