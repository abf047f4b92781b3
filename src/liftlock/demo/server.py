"""An old MLflow server as a person would have started it: by hand, in its own directory, with basic-auth."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from liftlock import clock, files, proc
from liftlock.effects import side_effect
from liftlock.errors import ServerError
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environment
from liftlock.runtimes.process_health import healthy

ADMIN = "admin"


@dataclass(frozen=True)
class OldServer:
    """The running server and its administrator's login."""

    pid: int
    port: int
    password: Secret

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def old_server(
    environment: Environment, directory: Path, *, tracking: StoreUri, auth: StoreUri, port: int, timeout: float = 120.0
) -> Iterator[OldServer]:
    """Start it, wait for health, and end its whole process group at the end (if liftlock has not done so)."""
    password = Secret(secrets.token_urlsafe(12))
    settings = directory / "basic_auth.ini"
    text = "\n".join(
        [
            "[mlflow]",
            "default_permission = READ",
            f"database_uri = {auth.reveal()}",
            f"admin_username = {ADMIN}",
            f"admin_password = {password.reveal()}",
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth",
            "",
        ]
    )
    files.write_atomic(settings, text)
    words: list[str | Path] = [
        environment.python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--app-name", "basic-auth", "--serve-artifacts", "--artifacts-destination", str(directory / "mlartifacts"),
    ]  # fmt: skip
    variables = clean_environment(
        {"MLFLOW_BACKEND_STORE_URI": tracking.reveal(), "MLFLOW_AUTH_CONFIG_PATH": str(settings)}
    )
    with (directory / "mlflow.log").open("ab") as log:
        with side_effect("start demo server"):
            process = proc.spawn(words, env=variables, cwd=directory, stdout=log)
        try:
            _wait(process, port, directory / "mlflow.log", timeout)
            yield OldServer(pid=process.pid, port=port, password=password)
        finally:
            proc.kill_group(process.pid)
            process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path, timeout: float) -> None:
    deadline = clock.monotonic() + timeout
    while not healthy("127.0.0.1", port):
        if process.poll() is not None or clock.monotonic() > deadline:
            raise ServerError("the demo's old server did not start", hint=f"Its log is {log}.")
        clock.sleep(0.2)


def quicken(auth: StoreUri, password: Secret) -> None:
    """Store the administrator's password with few iterations: basic-auth's own hash costs 0.2 s of processor time at
    each request, which would measure that and nothing else once clients write all the time.
    """
    salt = secrets.token_hex(8)
    digest = hashlib.pbkdf2_hmac("sha256", password.reveal().encode(), salt.encode(), 1000).hex()
    value = f"pbkdf2:sha256:1000${salt}${digest}"
    with side_effect("quicken demo password"):
        if auth.engine is Engine.SQLITE:
            with closing(sqlite3.connect(auth.path)) as file, file:
                file.execute("UPDATE users SET password_hash = ? WHERE username = ?", (value, ADMIN))
            return
        with psycopg.connect(auth.reveal()) as connection:
            connection.execute("UPDATE users SET password_hash = %s WHERE username = %s", (value, ADMIN))
