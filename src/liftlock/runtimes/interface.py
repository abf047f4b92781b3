"""What liftlock needs of whatever runs the tracking server: start, stop, probe, logs, scale, switch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from liftlock.model.codec import Value


class ServerSpec(Value, frozen=True):
    """How to start one tracking server.

    `python` is the interpreter of the release's environment; `arguments` follow `mlflow server`; `environment` is
    complete and may hold secrets, so a spec is never printed or journalled.
    """

    python: Path
    arguments: tuple[str, ...]
    environment: dict[str, str]
    working_directory: Path
    host: str
    port: int
    static_prefix: str = ""

    def __repr__(self) -> str:
        return f"ServerSpec({self.host}:{self.port})"


class Handle(Value, frozen=True):
    """A server process for ever: its PID together with its start time (seconds since the epoch)."""

    pid: int
    created: float


class Runtime(Protocol):
    """One way of running a server. All methods raise ServerError."""

    def start(self, spec: ServerSpec, *, timeout: float = 180.0) -> Handle:
        """Start the server and wait until `/health` answers 200. On failure the process is gone again."""
        ...

    def stop(self, handle: Handle, *, timeout: float = 30.0) -> None:
        """End the server with all its workers and wait until none is left; one already gone is no error."""
        ...

    def find(self) -> Handle | None:
        """The server this runtime runs now, or None."""
        ...

    def alive(self, handle: Handle) -> bool:
        """Whether exactly this process still lives."""
        ...

    def logs(self, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """The server's log, newest last, redacted."""
        ...


def complete_environment(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """`base` with `extra` on top: the environment a child gets."""
    return {**base, **extra}
