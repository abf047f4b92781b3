"""Servers as plain processes: started in a session of their own, found again later, ended with all they left.

`server.json` in the state directory is written before the process exists (with a mark that every child
inherits through its environment) and completed with PID and start time afterwards, so that a crash between
the two loses nothing: the mark finds the server again.
"""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from liftlock import clock, proc
from liftlock.effects import side_effect
from liftlock.errors import ServerError
from liftlock.files import PRIVATE_FILE, private_directory, write_atomic
from liftlock.lazy import Lazy
from liftlock.model.codec import Value, from_json, to_json
from liftlock.runtimes import process_health, process_log, process_tree
from liftlock.runtimes.interface import Handle, ServerSpec

if TYPE_CHECKING:
    import psutil

    _Members = Callable[[], dict[int, psutil.Process]]
else:
    psutil = Lazy("psutil")

RECORD = "server.json"
_POLL = 0.2
_DYING = 5.0
"""How long a port may stay taken after the processes that held it were gone, in seconds."""
_TAIL_LINES = 12


class Record(Value, frozen=True):
    """What is written down of a started server; `handle` is None while it is being started."""

    mark: str
    host: str
    port: int
    handle: Handle | None = None


class ProcessRuntime:
    """Runs one server; everything it keeps lies in `state_dir` (`server.json`, `logs/server.log`)."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.log = state_dir / "logs" / "server.log"
        # Children of this very process must be waited for, else they stay as zombies until it ends.
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self, spec: ServerSpec, *, timeout: float = 180.0) -> Handle:
        """Start `python -m mlflow server` and wait (at most `timeout` seconds) until `/health` answers 200.

        The server outlives this process. Raises ServerError when one of ours runs already, when the port is
        taken (naming who holds it), or when the server dies or does not answer; nothing of it is left then.
        """
        if (running := self.find()) is not None:
            raise ServerError(f"a server is running already: {process_tree.describe(running.pid)}")
        self._require_free_port(spec.host, spec.port)
        private_directory(self.log.parent)
        process_log.rotate(self.log)
        record = Record(mark=uuid.uuid4().hex, host=spec.host, port=spec.port)
        with side_effect("record server start"):
            self._write(record)
        offset = self.log.stat().st_size if self.log.exists() else 0
        try:
            with side_effect("start server"):
                child = self._spawn(spec, record.mark)
            created = psutil.Process(child.pid).create_time()
            record = Record(
                mark=record.mark, host=spec.host, port=spec.port, handle=Handle(pid=child.pid, created=created)
            )
            with side_effect("record server"):
                self._write(record)
            self._await_health(spec, record.mark, child, timeout, offset)
        except BaseException:
            self._end(partial(_processes, record), (record.host, record.port), 10.0)
            self._forget()
            raise
        return Handle(pid=child.pid, created=created)

    def stop(self, handle: Handle, *, timeout: float = 30.0, leave_port: bool = False) -> None:
        """End a server with all its processes: SIGTERM, after `timeout` seconds SIGKILL, then wait for the port.

        With `leave_port` the port need not become free: a gate listens there already. Works for servers liftlock
        started and for those a person started; one already gone is no error. Raises ServerError when a process
        survives (another user's) or the port stays taken.
        """
        record = self._read()
        members: _Members
        address: tuple[str, int] | None
        if record is not None and record.handle == handle:
            members, address = partial(_processes, record), (record.host, record.port)
        else:
            record = None
            members = partial(process_tree.family, handle)
            address = next(filter(None, map(_listening_at, members().values())), None)
        if leave_port:
            address = None
        with side_effect("stop server"):
            self._end(members, address, timeout)
        if record is not None:
            self._forget()

    def find(self) -> Handle | None:
        """The server started from this state directory, if it lives. Raises ServerError when the record is damaged."""
        record = self._read()
        if record is None:
            return None
        if record.handle is not None and process_tree.lives_still(record.handle):
            return record.handle
        survivors = _processes(record)
        if not survivors:
            return None
        # The start was interrupted before the PID was written, or the first process died and left its workers:
        # the oldest survivor stands for the server, and `stop` finds the others by their mark.
        oldest = min(survivors.values(), key=lambda process: process.create_time())
        handle = Handle(pid=oldest.pid, created=oldest.create_time())
        with side_effect("record found server"):
            self._write(Record(mark=record.mark, host=record.host, port=record.port, handle=handle))
        return handle

    def alive(self, handle: Handle) -> bool:
        """Whether exactly this process still lives; a zombie does not."""
        self._reap()
        return process_tree.process_of(handle) is not None

    def logs(self, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """The last lines of the log, redacted; with `follow` also every later one, without end."""
        if follow:
            return process_log.follow(self.log, lines)
        return iter(process_log.tail(self.log, lines))

    def _spawn(self, spec: ServerSpec, mark: str) -> subprocess.Popen[bytes]:
        environment = {**spec.environment, process_tree.MARK: mark}
        descriptor = self.log.open("ab", buffering=0)
        with descriptor:
            self.log.chmod(PRIVATE_FILE)
            argv = [str(spec.python), "-m", "mlflow", "server", *spec.arguments]
            child = proc.spawn(argv, env=environment, cwd=spec.working_directory, stdout=descriptor)
        self._children.append(child)
        return child

    def _await_health(
        self, spec: ServerSpec, mark: str, child: subprocess.Popen[bytes], timeout: float, offset: int
    ) -> None:
        deadline = clock.monotonic() + timeout
        while clock.monotonic() < deadline:
            if child.poll() is not None:
                raise self._failure(f"the server ended with status {child.returncode} while starting", offset)
            # Somebody else may have bound the port meanwhile; only an answer of our own process counts.
            if process_health.healthy(spec.host, spec.port, spec.static_prefix) and any(
                process_tree.listens(process, spec.port) for process in process_tree.marked(mark).values()
            ):
                return
            clock.sleep(_POLL)
        raise self._failure(f"the server did not answer /health within {timeout:.0f} s", offset)

    def _failure(self, message: str, offset: int) -> ServerError:
        lines = process_log.tail(self.log, 200, since=offset)
        last = proc.last_line("\n".join(lines))
        shown = "\n".join(f"  {line}" for line in lines[-_TAIL_LINES:])
        hint = "\n".join(
            part for part in (process_health.diagnose(lines), f"Last lines of {self.log}:\n{shown}") if part
        )
        return ServerError(f"{message}: {last}", hint=hint)

    def _end(self, members: _Members, address: tuple[str, int] | None, timeout: float) -> None:
        """SIGTERM to all, SIGKILL to what remains, new children included; then the port must be free."""
        processes = self._wait(members, {}, signal.SIGTERM, timeout)
        if processes:
            _signal(processes, signal.SIGKILL)
            processes = self._wait(members, processes, signal.SIGKILL, 10.0)
        if processes:
            names = ", ".join(process_tree.describe(pid) for pid in sorted(processes))
            raise ServerError(f"could not end {names}", hint="Does another user own it? Stop it as that user.")
        deadline = clock.monotonic() + _DYING
        while address is not None and not process_tree.port_is_free(*address):
            if clock.monotonic() > deadline:
                raise ServerError(
                    f"the server is gone, but {_holders(address[1])} still listens on port {address[1]}",
                    hint="It does not belong to the server that was stopped. Stop it, then try again.",
                )
            clock.sleep(_POLL)

    def _wait(
        self, members: _Members, signalled: dict[int, psutil.Process], number: signal.Signals, timeout: float
    ) -> dict[int, psutil.Process]:
        """Signal every member once and return those that live after `timeout`; empty as soon as none does."""
        deadline = clock.monotonic() + timeout
        processes = dict(signalled)
        while True:
            self._reap()
            # A worker forked while its parent died is nobody's child in any listing: ask for all members again
            # before believing that none is left.
            processes = process_tree.grown(processes.values()) or members()
            _signal({pid: found for pid, found in processes.items() if signalled.get(pid) != found}, number)
            signalled = {**signalled, **processes}
            if not processes or clock.monotonic() > deadline:
                return processes
            clock.sleep(0.05)

    def _reap(self) -> None:
        self._children = [child for child in self._children if child.poll() is None]

    def _require_free_port(self, host: str, port: int) -> None:
        deadline, held = clock.monotonic() + _DYING, False
        try:
            while not process_tree.port_is_free(host, port):
                # A killed server shows no sockets any more while the kernel still closes them, so what nobody is
                # seen to hold may be free in a moment; what somebody holds will not be.
                held = bool(process_tree.listeners(port))
                if held or clock.monotonic() > deadline:
                    break
                clock.sleep(_POLL)
            else:
                return
        except OSError as error:
            raise ServerError(f"a server cannot listen on {host}:{port}: {error.strerror or error}") from error
        raise ServerError(
            f"port {port} is taken by {_holders(port)}", hint="Stop it or choose another port.", retryable=not held
        )

    def _write(self, record: Record) -> None:
        private_directory(self.state_dir)
        write_atomic(self.state_dir / RECORD, to_json(record, indent=2))

    def _read(self) -> Record | None:
        path = self.state_dir / RECORD
        try:
            return from_json(path.read_bytes(), Record)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ServerError(
                f"{path} is damaged: {error}", hint="Stop the server by hand and remove the file."
            ) from error

    def _forget(self) -> None:
        with side_effect("forget server"):
            (self.state_dir / RECORD).unlink(missing_ok=True)


def _signal(processes: dict[int, psutil.Process], number: signal.Signals) -> None:
    for process in processes.values():
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
        except psutil.AccessDenied as error:
            raise ServerError(
                f"may not signal {process_tree.describe(process.pid)}", hint="Run liftlock as the server's user."
            ) from error


def _processes(record: Record) -> dict[int, psutil.Process]:
    family = process_tree.family(record.handle) if record.handle is not None else {}
    return family | process_tree.marked(record.mark)


def _listening_at(process: psutil.Process) -> tuple[str, int] | None:
    try:
        connections = process.net_connections(kind="tcp")
    except psutil.Error:
        return None
    return next(((c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN), None)


def _holders(port: int) -> str:
    pids = process_tree.listeners(port)
    return ", ".join(process_tree.describe(pid) for pid in pids) or "a process of another user"
