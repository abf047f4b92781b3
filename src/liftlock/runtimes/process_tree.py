"""Which processes belong to a server, and who listens on a port. Processes are named by PID and start time.

`mlflow server` of releases up to 3.6 dies of SIGTERM at once and leaves its gunicorn or uvicorn workers behind,
holding the port. So a server is never one PID here: it is every process of its group, every descendant, and
everything that carries the mark liftlock put into its environment at the start.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from liftlock.lazy import Lazy
from liftlock.runtimes.interface import Handle

if TYPE_CHECKING:
    import psutil
else:
    psutil = Lazy("psutil")

MARK = "LIFTLOCK_SERVER"
T = TypeVar("T")


def handle_of(pid: int) -> Handle | None:
    """The handle of a living process, or None. A zombie is dead."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Handle(pid=pid, created=process.create_time())
    except psutil.NoSuchProcess:
        return None


def lives_still(handle: Handle) -> bool:
    """Whether exactly this process lives. What Linux says at once is believed; loading psutil takes longer."""
    try:
        boot = next(line for line in Path("/proc/stat").read_bytes().splitlines() if line.startswith(b"btime "))
        state, *rest = Path(f"/proc/{handle.pid}/stat").read_bytes().rpartition(b")")[2].split()
        created = int(boot.split()[1]) + int(rest[18]) / os.sysconf("SC_CLK_TCK")
    except (OSError, StopIteration, ValueError, IndexError):
        return process_of(handle) is not None
    return (state != b"Z" and abs(created - handle.created) <= 0.05) or process_of(handle) is not None


def mentioning(word: str) -> list[int] | None:
    """The processes of this machine that have this word in their command line; None where nobody can tell at once."""
    try:
        places = [place for place in Path("/proc").iterdir() if place.name.isdigit()]
    except OSError:
        return None
    return [int(place.name) for place in places if _has_word(place / "cmdline", word.encode())] if places else None


def _has_word(place: Path, word: bytes) -> bool:
    try:
        return word in place.read_bytes()
    except OSError:  # it ended just now
        return False


def process_of(handle: Handle) -> psutil.Process | None:
    """The process a handle names, or None when it ended (its PID may belong to another process by now)."""
    try:
        process = psutil.Process(handle.pid)
        # Start times are clock ticks since boot turned into seconds: equal up to rounding, and never reused.
        if abs(process.create_time() - handle.created) > 0.05 or process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process
    except psutil.NoSuchProcess:
        return None


def family(handle: Handle) -> dict[int, psutil.Process]:
    """The process itself, its descendants, and, when it leads its process group, that group's members.

    A group outlives its leader, and the kernel gives no new process the PID of a group that still has members:
    so when the leader is gone and its PID is free, members of that group are what it left behind.
    """
    leader = process_of(handle)
    if leader is None:
        return {} if psutil.pid_exists(handle.pid) and handle_of(handle.pid) else _members(handle.pid)
    found = grown((leader,))
    if _group(leader.pid) == leader.pid:
        found |= _members(leader.pid)
    return found


def marked(mark: str) -> dict[int, psutil.Process]:
    """Every process that inherited this mark in its environment, orphans included."""
    return {process.pid: process for process in _all() if _environment_value(process, MARK) == mark}


def grown(processes: Iterable[psutil.Process]) -> dict[int, psutil.Process]:
    """These processes, as far as they live, and the descendants they have by now."""
    found = {process.pid: process for process in processes if lives(process)}
    if not found:
        return found
    children: dict[int, list[psutil.Process]] = {}
    for process in _all():
        children.setdefault(_answer(process.ppid, 0), []).append(process)
    queue = list(found)
    while queue:
        for child in children.get(queue.pop(), []):
            if child.pid not in found and lives(child):
                found[child.pid] = child
                queue.append(child.pid)
    return found


def lives(process: psutil.Process) -> bool:
    """Whether this very process runs and is no zombie."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def listeners(port: int) -> tuple[int, ...]:
    """PIDs that listen on a TCP port of this machine, as far as this user may see."""
    return tuple(sorted(process.pid for process in _all() if listens(process, port)))


def listens(process: psutil.Process, port: int) -> bool:
    """Whether this process has a listening TCP socket on the port. False when it may not be looked into."""
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return False
    ports: list[int] = [entry.laddr.port for entry in connections if entry.status == psutil.CONN_LISTEN]
    return port in ports


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could bind the port now. Raises OSError when the address itself is impossible."""
    address = {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host)  # noqa: S104 - what the server would bind
    for family_, kind, protocol, _, target in socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[:1]:
        with socket.socket(family_, kind, protocol) as probe:
            # A connection of an ended server in TIME_WAIT does not keep the next one from binding.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(target)
                probe.listen(1)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
                raise
    return True


def describe(pid: int) -> str:
    """One process for a message: `PID 17 (gunicorn)`."""
    try:
        return f"PID {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"PID {pid}"


def _members(group: int) -> dict[int, psutil.Process]:
    return {process.pid: process for process in _all() if _group(process.pid) == group and lives(process)}


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _environment_value(process: psutil.Process, name: str) -> str | None:
    # Other users' processes refuse to be looked into; they cannot be children of ours.
    environment: dict[str, str] = _answer(process.environ, {})
    return environment.get(name)


def _all() -> Iterator[psutil.Process]:
    own = os.getpid()
    return (process for process in psutil.process_iter() if process.pid != own)


def _answer(question: Callable[[], T], otherwise: T) -> T:
    try:
        return question()
    except psutil.Error:
        return otherwise
