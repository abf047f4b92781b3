"""The only door to child processes: a deadline, captured and redacted output, and the whole group ended.

Secrets reach a child through its environment or standard input, never through its arguments, because
arguments are readable by every user of the machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from liftlock.errors import CommandFailed
from liftlock.model.secret import redact

_TAIL = 4000


@dataclass(frozen=True)
class Completed:
    """A child that ended: its status and its output, redacted and decoded as UTF-8."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def run(
    argv: Sequence[str | Path],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | bytes | None = None,
    check: bool = True,
    what: str = "",
    as_user: tuple[int, int] | None = None,
    secret: bool = False,
) -> Completed:
    """Run a program to its end and return its output.

    `timeout` is in seconds; past it the child's whole process group is killed. `env` is the complete
    environment (None = ours). `what` names the work in the error. `as_user` is a (uid, gid) to become, which only
    root can. `secret`: standard output is a secret that is asked for, and so not redacted. Raises CommandFailed when
    the program is missing, when the deadline passes, or (with `check`) when it ends with a status other than zero.
    """
    words = tuple(str(word) for word in argv)
    shown = tuple(redact(word) for word in words)
    name = what or Path(words[0]).name
    data = stdin.encode() if isinstance(stdin, str) else stdin
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
            user=as_user[0] if as_user else None,
            group=as_user[1] if as_user else None,
            extra_groups=[] if as_user else None,
        )
    except OSError as error:
        raise CommandFailed(
            f"{name} could not be started: {error.strerror or error}", argv=shown, status=None, output=""
        ) from error
    try:
        raw_out, raw_err = child.communicate(data, timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        raw_out, raw_err = child.communicate()
        raise CommandFailed(
            f"{name} did not end within {timeout:.0f} s and was killed",
            argv=shown,
            status=None,
            output=_tail(raw_out, raw_err),
        ) from None
    except BaseException:
        kill_group(child.pid)
        child.wait()
        raise
    out = raw_out.decode("utf-8", "replace") if secret else _text(raw_out)
    result = Completed(shown, child.returncode, out, _text(raw_err))
    if check and result.status != 0:
        raise CommandFailed(
            f"{name} ended with status {result.status}: {last_line(result.stderr or result.stdout)}",
            argv=shown,
            status=result.status,
            output=_tail(raw_out, raw_err),
        )
    return result


def spawn(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    cwd: Path | None,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes],
    stderr: int | IO[bytes] = subprocess.STDOUT,
    as_user: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a long-lived child in a process group (and session) of its own; the caller ends it.

    `as_user` is a (uid, gid) to become, which only root can.
    """
    words = [str(word) for word in argv]
    try:
        return subprocess.Popen(
            words,
            env=dict(env),
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            user=as_user[0] if as_user else None,
            group=as_user[1] if as_user else None,
            extra_groups=[] if as_user else None,
        )
    except OSError as error:
        raise CommandFailed(
            f"{Path(words[0]).name} could not be started: {error.strerror or error}",
            argv=tuple(redact(word) for word in words),
            status=None,
            output="",
        ) from error


def kill_group(leader: int, sig: int = signal.SIGKILL) -> None:
    """Send a signal to every process of the group led by `leader`; a group already gone is no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, sig)


def last_line(text: str) -> str:
    """The last line that says something, or a stand-in: what a one-line error needs of a traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _text(raw: bytes) -> str:
    return redact(raw.decode("utf-8", "replace"))


def _tail(*streams: bytes) -> str:
    return "\n".join(_text(stream)[-_TAIL:] for stream in streams if stream)
