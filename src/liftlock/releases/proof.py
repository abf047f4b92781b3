"""The proof that an environment works: it imports, opens a database, has its drivers, and its server starts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import urllib3

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import ReleaseError
from liftlock.model.codec import Value
from liftlock.model.release import Release
from liftlock.model.secret import redact
from liftlock.model.uri import Engine
from liftlock.proc import kill_group, last_line, spawn
from liftlock.releases.children import clean_environment
from liftlock.releases.worker import Worker

_SCHEMES = {Engine.POSTGRESQL: ("postgresql", "postgresql+psycopg2"), Engine.MYSQL: ("mysql+pymysql",)}
_START_TIMEOUT = 180.0


class Seen(Value, frozen=True):
    """What the import check saw: SQLAlchemy's version and the drivers it chose for the engines asked for."""

    sqlalchemy: str
    drivers: tuple[str, ...]


def prove_imports(python: Path, release: Release, scratch: Path, engines: Collection[Engine]) -> Seen:
    """Import MLflow, check its version, make a schema in a scratch SQLite file, import the drivers.

    Raises ReleaseError with what failed: an environment that only installs is none.
    """
    schemes = [scheme for engine in sorted(engines) for scheme in _SCHEMES.get(engine, ())]
    name = f"MLflow {release}"
    with Worker(python, name) as worker:
        seen = worker.call("prove", "prove", {"scratch": str(scratch), "schemes": schemes}, timeout=180)
    if Release.parse(seen["mlflow"]) != release:
        raise ReleaseError(f"{name} was asked for and {seen['mlflow']} was installed")
    return Seen(sqlalchemy=seen["sqlalchemy"], drivers=tuple(seen["drivers"]))


def prove_start(python: Path, release: Release, scratch: Path) -> float:
    """Start `mlflow server` on a scratch database and a free port; seconds until `/health` answered 200."""
    port = free_port()
    argv: list[str | Path] = [
        python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{scratch / 'start.db'}",
        "--default-artifact-root", scratch / "artifacts",
    ]  # fmt: skip
    # Without job execution a 3.x server starts two processes instead of sixteen (facts: decision 12).
    env = clean_environment({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    env["PATH"] = f"{python.parent}{os.pathsep}{env.get('PATH', '')}"  # it finds gunicorn or uvicorn by name
    started = clock.monotonic()
    log = scratch / "start.log"
    with side_effect("start proof server"), log.open("wb") as output:
        child = spawn(argv, env=env, cwd=scratch, stdout=output)
    try:
        while clock.monotonic() - started < _START_TIMEOUT:
            if child.poll() is not None:
                said = last_line(redact(log.read_text(encoding="utf-8", errors="replace")))
                raise ReleaseError(f"the server of MLflow {release} does not start: {said[:300]}")
            if _healthy(port):
                return clock.monotonic() - started
            clock.sleep(0.2)
        raise ReleaseError(f"the server of MLflow {release} did not answer within {_START_TIMEOUT:.0f} s")
    finally:
        with side_effect("stop proof server"):
            kill_group(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # the kill below ends it and what it left behind
                child.wait(10)
            # Servers up to 3.6 leave their workers running when they end: the group is ended, not the process.
            kill_group(child.pid)
            child.wait()


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _healthy(port: int) -> bool:
    try:
        answer = urllib3.request("GET", f"http://127.0.0.1:{port}/health", timeout=2.0, retries=False)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200
