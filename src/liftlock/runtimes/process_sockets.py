"""Which sockets a server listens with, and who is connected to a port. Linux only, as far as this user may look."""

from __future__ import annotations

from pathlib import Path

import psutil

from liftlock.model.codec import Value
from liftlock.runtimes import process_tree
from liftlock.runtimes.interface import Handle

# A request may be under way on these; a listener's child that nobody accepted yet is ESTABLISHED too.
_OPEN = (psutil.CONN_ESTABLISHED, psutil.CONN_CLOSE_WAIT, psutil.CONN_SYN_RECV)


class Listening(Value, frozen=True):
    """A listening socket: its address, and one process that has it under this descriptor."""

    address: str
    pid: int
    descriptor: int


def listening(handle: Handle, port: int) -> tuple[Listening, ...]:
    """The sockets with which a server's processes listen on a port; one that several processes share counts once."""
    found: dict[str, Listening] = {}
    for pid, process in process_tree.family(handle).items():
        try:
            entries = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        for entry in entries:
            if entry.status == psutil.CONN_LISTEN and entry.laddr.port == port:
                try:
                    inode = str(Path(f"/proc/{pid}/fd/{entry.fd}").readlink())
                except OSError:
                    continue
                found.setdefault(inode, Listening(address=entry.laddr.ip, pid=pid, descriptor=entry.fd))
    return tuple(found.values())


def connected(port: int, *, besides: int) -> tuple[tuple[int, int], ...]:
    """The open connections to a port of this machine, but those of one process: PID and descriptor of each.

    Both are -1 where nobody that may be looked at has it: not accepted yet, or another user's.
    """
    return tuple(
        (entry.pid or -1, entry.fd if entry.pid else -1)
        for entry in psutil.net_connections(kind="tcp")
        if entry.status in _OPEN and entry.laddr and entry.laddr.port == port and entry.pid != besides
    )
