"""One port for a running server and for the gate that takes it over, without the server's knowledge.

Linux lets several sockets of one user listen on one address when each has SO_REUSEPORT, and a socket may be given it
while it listens (net/core/sock_reuseport.c). So the server's own socket is fetched from its process (pidfd_getfd(2):
Linux 5.6, the right to trace that process) and given it; the gate listens beside it; and a filter that names the second
socket of the two (SO_ATTACH_REUSEPORT_CBPF, socket(7)) sends every new connection to the gate. When the gate's socket
closes, however it died, the filter names nobody and the kernel falls back to the socket that is left: the server's.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import termios
from collections.abc import Iterator

from liftlock.effects import side_effect
from liftlock.gate.model import GateError

_PIDFD_GETFD = 438  # the same number on every architecture
_ATTACH_REUSEPORT_CBPF = 51
_RETURN = 0x06  # BPF_RET | BPF_K
_FIRST, _SECOND = 0, 1
# tcpi_last_data_sent and _recv (ms ago), tcpi_bytes_received of struct tcp_info.
_INFO = struct.Struct("=44xI4xI72xQ")
_REST = 1000


def owner(pid: int, descriptor: int) -> int:
    """The user (UID) of a listening socket in another process: who may listen beside it.

    Raises GateError when the process does not let its sockets be fetched, or the socket is none that listens.
    """
    with _listening(pid, descriptor) as sock:
        return os.fstat(sock.fileno()).st_uid


def lend(pid: int, descriptor: int) -> None:
    """Allow the socket's user to listen beside it. Raises GateError."""
    with side_effect("share port"), _listening(pid, descriptor) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def join(sock: socket.socket, user: int) -> None:
    """Prepare a socket, before it is bound, to listen beside the one that was lent. Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if user != os.geteuid():
        os.fchown(sock.fileno(), user, -1)


def take_all(sock: socket.socket) -> None:
    """Send every new connection to this socket, which listens beside the one that was lent. Raises OSError."""
    with side_effect("take port"):
        _send_all(sock, _SECOND)


def give_all(sock: socket.socket) -> None:
    """Send every new connection to the one that was here first, if it is there; what waits here already stays.

    A socket that closes resets connections that nobody has accepted yet, so it must get none before. Raises OSError.
    """
    with side_effect("give port"):
        _send_all(sock, _FIRST)


def _send_all(sock: socket.socket, number: int) -> None:
    program = ctypes.create_string_buffer(struct.pack("=HBBI", _RETURN, 0, 0, number))
    sock.setsockopt(socket.SOL_SOCKET, _ATTACH_REUSEPORT_CBPF, struct.pack("HL", 1, ctypes.addressof(program)))


def at_rest(pid: int, descriptor: int) -> bool:
    """Whether a connection of another process carries nothing: an answer was its last, a second ago or longer.

    False when it cannot be looked at, or when a request and an answer fell into one tick of the kernel's clock (1 to
    10 ms) and nobody can tell which was the last.
    """
    try:
        with _fetched(pid, descriptor) as sock:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
            sent, received, number = _INFO.unpack(info)
            waiting = [_waiting(sock, request) for request in (termios.FIONREAD, termios.TIOCOUTQ)]
    except (GateError, OSError, struct.error):
        return False
    return not any(waiting) and sent >= _REST and (sent < received or not number)


def _waiting(sock: socket.socket, request: int) -> int:
    """Bytes that the server has not read (FIONREAD), or that its client has not acknowledged (TIOCOUTQ)."""
    return int.from_bytes(fcntl.ioctl(sock.fileno(), request, bytes(4)), "little", signed=True)


@contextlib.contextmanager
def _listening(pid: int, descriptor: int) -> Iterator[socket.socket]:
    with _fetched(pid, descriptor) as sock:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise GateError(f"descriptor {descriptor} of PID {pid} does not listen any more", code="rights")
        yield sock


@contextlib.contextmanager
def _fetched(pid: int, descriptor: int) -> Iterator[socket.socket]:
    try:
        process = os.pidfd_open(pid)
        try:
            library = ctypes.CDLL(None, use_errno=True)
            number = library.syscall(_PIDFD_GETFD, process, descriptor, 0)
            error = ctypes.get_errno()
        finally:
            os.close(process)
        if number < 0:
            raise OSError(error, os.strerror(error))
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise GateError(
            f"the socket of PID {pid} cannot be fetched: {error.strerror}", code="rights",
            hint="Linux 5.6 and the right to trace the server's process are needed (its user where "
            "kernel.yama.ptrace_scope is 0, else root; in a container CAP_SYS_PTRACE).",
        ) from error  # fmt: skip
    with sock:
        yield sock
