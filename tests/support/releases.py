"""Real MLflow releases for tests: environments from a cache that survives runs, and servers started from them."""

from __future__ import annotations

import functools
import hashlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import urllib3

from liftlock import clock
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.proc import kill_group, spawn
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.index import Index
from liftlock.releases.proof import free_port
from liftlock.releases.tools import ReleaseTools

OLD = "2.9.2"


def cache_root() -> Path:
    """$LIFTLOCK_CACHE, else a directory of the checkout that git ignores."""
    named = os.environ.get("LIFTLOCK_CACHE")
    return Path(named) if named else Path(__file__).resolve().parents[2] / ".build" / "cache"


def environments() -> Environments:
    """The cache that tests share."""
    return Environments(cache_root())


@functools.cache
def newest() -> str:
    """The newest installable release."""
    return str(Index(cache_root()).newest_installable())


@functools.cache
def environment(version: str) -> Environment:
    """The environment of a release, with PostgreSQL's driver; built once and kept between runs."""
    return environments().build(Release.parse(version), drivers={Engine.POSTGRESQL})


def tools(version: str) -> ReleaseTools:
    """The tools of a release."""
    return ReleaseTools(environment(version))


@contextmanager
def serving(
    version: str,
    directory: Path,
    *,
    store: str | None = None,
    arguments: Sequence[str] = (),
    env: dict[str, str] | None = None,
    timeout: float = 120,
) -> Iterator[str]:
    """A real server with proxied artifacts in `directory`; yields its URL and ends the whole process group.

    `store` is the backend URI (default: `mlflow.db` there). Job execution is off: two processes, not sixteen.
    """
    python = environment(version).python
    port = free_port()
    words: list[str | Path] = [
        python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", store or f"sqlite:///{directory / 'mlflow.db'}",
        "--artifacts-destination", directory / "artifacts", *arguments,
    ]  # fmt: skip
    variables = clean_environment({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(env or {})})
    variables["PATH"] = f"{python.parent}{os.pathsep}{variables['PATH']}"
    log = directory / f"server-{port}.log"
    with log.open("wb") as output:
        child = spawn(words, env=variables, cwd=directory, stdout=output)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = clock.monotonic() + timeout
        while not _healthy(url):
            assert child.poll() is None, log.read_text()[-3000:]
            assert clock.monotonic() < deadline, log.read_text()[-3000:]
            clock.sleep(0.1)
        yield url
    finally:
        kill_group(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(10)
        kill_group(child.pid)
        child.wait()


def auth_environment(directory: Path, password: str = "admin-password-1234") -> dict[str, str]:
    """Variables for `--app-name basic-auth` with its database in `directory`; log in as admin."""
    config = directory / "auth.ini"
    config.write_text(
        "[mlflow]\ndefault_permission = READ\n"
        f"database_uri = sqlite:///{directory / 'auth.db'}\nadmin_username = admin\nadmin_password = {password}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    return {"MLFLOW_AUTH_CONFIG_PATH": str(config), "MLFLOW_FLASK_SERVER_SECRET_KEY": "a key for tests"}


def quick_password(database: Path, user: str, password: str) -> None:
    """Store a user's password hash with one iteration: the real one costs the server 0.2 s a request."""
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"salt", 1).hex()
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute(
            "update users set password_hash = ? where username = ?", (f"pbkdf2:sha256:1$salt${digest}", user)
        )


def _healthy(url: str) -> bool:
    try:
        return urllib3.request("GET", f"{url}/health", timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False
