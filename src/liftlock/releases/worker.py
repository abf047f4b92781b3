"""A process inside a release's environment that carries out commands, one after the other, with deadlines."""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from liftlock import clock
from liftlock.errors import ReleaseError
from liftlock.model.secret import redact
from liftlock.proc import kill_group, last_line, spawn
from liftlock.releases.children import clean_environment

INSIDE = Path(__file__).parent / "inside"
_MARK = "@liftlock "
_START_TIMEOUT = 60.0


def _ignore(_: Any) -> None:
    """The observer of commands that report no progress."""


class Worker:
    """One running `inside/worker.py`. Secrets go in through its stdin; it ends when its stdin does.

    `python` is the release's interpreter and `name` appears in errors. Use as a context manager; `close` ends it. When
    the process died (or was killed at a deadline), the call in question fails and the next one starts another.
    """

    def __init__(self, python: Path, name: str, *, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._python, self._environment = python, clean_environment(env)
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker, closed in close()
        self._begin()

    def _begin(self) -> None:
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._child = spawn(
            [self._python, INSIDE / "worker.py"], env=self._environment, cwd=INSIDE,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        threading.Thread(target=self._read, args=(self._child, self._answers), daemon=True).start()
        self._wait("start", clock.monotonic() + _START_TIMEOUT, "ready", _ignore)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._child.pid

    def call(
        self, module: str, function: str, arguments: Mapping[str, Any], *, timeout: float,
        progress: Callable[[Any], None] = _ignore,
    ) -> Any:  # fmt: skip
        """Carry out `inside/<module>.py: function(arguments)` and return its JSON result.

        Raises ReleaseError when it raises, when the process dies, or past `timeout` seconds (it is then killed).
        """
        line = json.dumps({"module": module, "call": function, "arguments": dict(arguments)}) + "\n"
        if self._child.poll() is not None and not self._log.closed:
            self._begin()
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line.encode())
            self._child.stdin.flush()
        except (OSError, ValueError):
            raise self._died(function) from None
        return self._wait(function, clock.monotonic() + timeout, "done", progress)

    def close(self) -> None:
        """End the process by closing its stdin; kill it if it does not follow. Repeatable."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            with suppress(OSError):  # a pipe to a process that is gone already
                self._child.stdin.close()
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            kill_group(self._child.pid)
            self._child.wait()
        kill_group(self._child.pid)
        self._log.close()

    def output(self) -> str:
        """The end of what MLflow printed, redacted."""
        if self._log.closed:
            return ""
        self._log.seek(0)
        return redact(self._log.read().decode("utf-8", "replace"))[-4000:]

    @staticmethod
    def _read(child: subprocess.Popen[bytes], answers: queue.Queue[dict[str, Any] | None]) -> None:
        assert child.stdout is not None
        for raw in child.stdout:
            line = raw.decode("utf-8", "replace")
            if line.startswith(_MARK):
                answers.put(json.loads(line[len(_MARK) :]))
        answers.put(None)

    def _wait(self, what: str, deadline: float, wanted: str, progress: Callable[[Any], None]) -> Any:
        try:
            while True:
                try:
                    answer = self._answers.get(timeout=max(0.0, deadline - clock.monotonic()))
                except queue.Empty:
                    raise ReleaseError(
                        f"{self.name}: {what} did not end in time and was killed", retryable=True
                    ) from None
                if answer is None:
                    raise self._died(what)
                if wanted in answer:
                    return answer[wanted]
                if "progress" in answer:
                    progress(answer["progress"])
                elif "failed" in answer:
                    raise InsideFailed(self.name, what, answer["failed"]["type"], answer["failed"]["message"])
        except InsideFailed:
            raise
        except BaseException:
            kill_group(self._child.pid)
            raise

    def _died(self, what: str) -> ReleaseError:
        if self._child.poll() is None:  # it hears and says nothing any more: the next call must find it dead
            kill_group(self._child.pid)
            self._child.wait()
        return ReleaseError(f"{self.name}: the process died during {what}: {last_line(self.output())}", retryable=True)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InsideFailed(ReleaseError):
    """The release's own code raised; `kind` is the exception's class and `text` what it said, redacted."""

    def __init__(self, name: str, what: str, kind: str, text: str) -> None:
        self.kind = kind
        self.text = redact(text)
        first = next((line.strip() for line in self.text.splitlines() if line.strip()), "no message")
        super().__init__(f"{name}: {what} failed: {kind}: {first[:300]}")
