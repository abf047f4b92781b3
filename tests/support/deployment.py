"""A whole deployment of the stub release in a directory, and liftlock as a child process."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import urllib3

from liftlock.engine.journal import Journal
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.uri import StoreUri
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store
from tests.support import stub_release
from tests.support.servers import free_port

_ROWS = """
INSERT INTO experiments (experiment_id, name, lifecycle_stage) VALUES (1, 'Default', 'active'), (2, 'two', 'active');
INSERT INTO runs VALUES ('r1', 1, 'first', 'FINISHED', 1000, 'active'), ('r2', 2, 'second', 'FINISHED', 2000, 'active');
INSERT INTO params VALUES ('p', '1', 'r1'), ('q', '2', 'r1'), ('p', '3', 'r2');
INSERT INTO metrics VALUES ('m', '0.5', 1, 0, 'r1'), ('m', '0.7', 2, 1, 'r1');
INSERT INTO tags VALUES ('t', 'v', 'r1');
INSERT INTO registered_models VALUES ('model');
INSERT INTO model_versions VALUES ('model', 1, 1000);
"""


def _hear() -> None:
    """A child of a background job ignores signals that a person's terminal would send."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


_SCHEMA = "import sys; from mlflow._database import migrate; migrate(sys.stdin.read(), 'tracking')"


@dataclass
class Deployment:
    """`tracking` and `auth` are URIs; `auth` switches basic-auth on with this administrator's password."""

    directory: Path
    tracking: str = ""
    auth: str = ""
    password: str = "an-admin-password"
    server_environment: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    child: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.tracking = self.tracking or f"sqlite:///{self.directory / 'mlflow.db'}"

    @property
    def config(self) -> Path:
        return self.directory / "liftlock.toml"

    @property
    def state(self) -> Path:
        return self.directory / ".liftlock"

    @property
    def backups(self) -> Path:
        return self.directory / "liftlock-backups"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def make(self) -> Deployment:
        """Databases at the old release's head with a few rows, an artifact, a running server, liftlock.toml."""
        python = stub_release.old_python()
        stub_release.make_cache(self.directory / "cache")
        subprocess.run([python, "-c", _SCHEMA], input=self.tracking, text=True, check=True, timeout=60)
        self._fill()
        note = self.directory / "mlartifacts" / "1" / "r1" / "artifacts" / "note.txt"
        note.parent.mkdir(parents=True)
        note.write_text("an artifact")
        if self.auth:
            ini = self.directory / "basic_auth.ini"
            ini.write_text(
                "[mlflow]\ndefault_permission = READ\nadmin_username = admin\n"
                f"database_uri = {self.auth}\nadmin_password = {self.password}\n"
            )
            ini.chmod(0o600)
        self.start_old()
        self.write_config()
        return self

    def _fill(self) -> None:
        if self.tracking.startswith("sqlite"):
            with closing(sqlite3.connect(self.tracking.removeprefix("sqlite:///"))) as connection:
                connection.executescript(_ROWS)
        else:
            import psycopg

            with psycopg.connect(self.tracking) as connection:
                connection.execute(_ROWS.encode())
                # As after inserts without a number; else the first experiment that a client makes takes 1 again.
                connection.execute("SELECT setval(pg_get_serial_sequence('experiments', 'experiment_id'), 2)")

    def start_old(self) -> None:
        """The server as a person starts it."""
        words = [str(stub_release.old_python()), "-m", "mlflow", "server", "--host", "127.0.0.1"]
        words += ["--port", str(self.port), "--artifacts-destination", str(self.directory / "mlartifacts")]
        environment = {"PATH": os.environ["PATH"], "MLFLOW_BACKEND_STORE_URI": self.tracking, **self.server_environment}
        if self.auth:
            words += ["--app-name", "basic-auth"]
            environment["MLFLOW_AUTH_CONFIG_PATH"] = str(self.directory / "basic_auth.ini")
        with (self.directory / "old.log").open("ab") as log:
            self.child = subprocess.Popen(
                words, env=environment, cwd=self.directory, stdout=log, stderr=log, start_new_session=True
            )
        self.wait()

    def write_config(self, **server: Any) -> None:
        """liftlock.toml as `init` would write it, without asking anybody."""
        settings = {
            "release": stub_release.OLD,
            "python": str(stub_release.old_python()),
            "working_directory": str(self.directory),
            "port": self.port,
            "arguments": ["--artifacts-destination", str(self.directory / "mlartifacts")],
            **server,
        }
        environment = dict(self.server_environment)
        lines = ["format = 1", 'name = "stub"', "", "[server]"]
        if self.auth:
            settings["app_name"] = "basic-auth"
            environment["MLFLOW_AUTH_CONFIG_PATH"] = str(self.directory / "basic_auth.ini")
        lines += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        if environment:
            lines += [
                "",
                "[server.environment]",
                *(f"{key} = {json.dumps(value)}" for key, value in environment.items()),
            ]
        lines += ["", "[stores]", f"tracking = {json.dumps(self.tracking)}"]
        if self.auth:
            lines += [f"auth = {json.dumps(self.auth)}", "", "[credentials]", 'username = "admin"']
            lines += [f"password = {json.dumps(self.password)}"]
        lines += ["", "[artifacts]", f"roots = [{json.dumps(str(self.directory / 'mlartifacts'))}]"]
        self.config.write_text("\n".join(lines) + "\n")

    def liftlock(
        self, *words: str, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run the command line as a person would and wait for its end."""
        child = self.spawn(*words, env=env)
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
            raise AssertionError(f"liftlock {' '.join(words)} hangs:\n{out}\n{err}") from None
        return subprocess.CompletedProcess(words, child.returncode, out, err)

    def spawn(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the command line and come back at once."""
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LIFTLOCK_", "STUB_", "UV_"))
        }
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        environment["PYTHONPYCACHEPREFIX"] = str(stub_release.home() / "pycache")  # compile once, not in each process
        environment |= (
            stub_release.variables(self.directory / "cache") | {"STUB_TAG": str(self.directory)} | dict(env or {})
        )
        return subprocess.Popen(
            [Path(sys.executable).parent / "liftlock", "--config", str(self.config), *words],
            env=environment,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear,
        )

    def ok(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """Run and expect 0; standard output."""
        done = self.liftlock(*words, env=env)
        assert done.returncode == 0, f"liftlock {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def store(self, role: Role = Role.TRACKING) -> Store:
        return open_store(StoreUri.parse(self.auth if role is Role.AUTH else self.tracking), role)

    def fingerprint(self, role: Role = Role.TRACKING) -> Fingerprint:
        return self.store(role).fingerprint()

    def journal(self) -> Journal:
        return Journal(self.state / "journal.db")

    def version(self) -> str | None:
        """What the server on the port says it is; None when there is none."""
        headers = urllib3.make_headers(basic_auth=f"admin:{self.password}") if self.auth else None
        try:
            answer = urllib3.request("GET", f"{self.url}/version", timeout=5.0, retries=False, headers=headers)
        except urllib3.exceptions.HTTPError:
            return None
        return answer.data.decode()

    def wait(self, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while self.version() is None:
            assert time.monotonic() < deadline, (self.directory / "old.log").read_text()
            time.sleep(0.02)

    def processes(self) -> list[psutil.Process]:
        """Every living process that works in this deployment's directory, names it or was started by its liftlock."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                place = str(self.directory)
                words = process.cmdline()
                ours = process.cwd().startswith(place) or any(place in word for word in words)
                ours = ours or process.environ().get("STUB_TAG") == place
                if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                    found.append(process)
        return found

    def servers(self) -> list[psutil.Process]:
        return [
            process for process in self.processes() if "mlflow" in process.cmdline() and "server" in process.cmdline()
        ]

    def end(self) -> None:
        """End exactly the processes of this deployment."""
        for process in self.processes():
            with suppress(psutil.Error):
                process.send_signal(signal.SIGKILL)
        if self.child is not None:
            self.child.wait(10)
