"""A running `mlflow server`, read from the process itself: its words, environment, directory and interpreter."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from liftlock.describe import auth, options
from liftlock.describe.environment import Installed, installed, relevant
from liftlock.errors import Refused, ServerError
from liftlock.lazy import Lazy
from liftlock.model.deployment import ArtifactFacts, Role
from liftlock.model.release import Release
from liftlock.model.secret import Secret, remember
from liftlock.model.uri import StoreUri
from liftlock.runtimes import process_health, process_tree
from liftlock.runtimes.interface import Handle

if TYPE_CHECKING:
    import psutil
else:
    psutil = Lazy("psutil")

_COMMANDS = ("server", "ui")


@dataclass(frozen=True, repr=False)
class Observed:
    """Everything read from one running server. Holds secrets in the clear, so it is never printed.

    `environment` has only the variables that matter (see `environment.relevant`). `auth` and `login` are None
    without basic-auth; `login` is the configured administrator if the server accepted it just now.
    """

    handle: Handle
    release: Release
    python: Path
    installed: Installed
    working_directory: Path
    options: options.ServerOptions
    environment: dict[str, str]
    host: str
    port: int
    workers: int | None
    app_name: str | None
    static_prefix: str
    stores: dict[Role, StoreUri]
    artifacts: tuple[ArtifactFacts, ...]
    auth: auth.AuthSettings | None
    login: tuple[str, Secret] | None
    sources: dict[str, str]

    @property
    def url(self) -> str:
        """Where this machine reaches the server."""
        return process_health.base_url(self.host, self.port) + self.static_prefix


def find_servers() -> tuple[int, ...]:
    """PIDs of the `mlflow server` processes this user can see, workers left out."""
    pids = process_tree.mentioning("mlflow")
    seen = psutil.process_iter() if pids is None else filter(None, map(_process, pids))
    found = {process.pid: process for process in seen if server_words(_cmdline(process)) is not None}
    return tuple(sorted(pid for pid, process in found.items() if _parent(process) not in found))


def find_on_port(port: int) -> Handle | None:
    """The `mlflow server` that was told to listen on a port, or None. Reads command lines only: no program is run."""
    for pid in find_servers():
        try:
            process = psutil.Process(pid)
            words, environment = server_words(process.cmdline()), process.environ()
        except psutil.Error:
            # Another user's server, or one that ended just now.
            continue
        if (options.parse(words or (), environment).get("--port") or "5000") == str(port):
            return process_tree.handle_of(pid)
    return None


def server_words(cmdline: Sequence[str]) -> tuple[str, ...] | None:
    """The words after `mlflow server` (or `mlflow ui`) in a command line, or None when it is not that."""
    words = list(cmdline)
    for position, word in enumerate(words[:4]):
        script = Path(word).name == "mlflow" and position <= 1
        if not (script or (word == "mlflow" and words[position - 1] == "-m")):
            continue
        rest = words[position + 1 :]
        while rest and rest[0].startswith("-"):
            # Options of `mlflow` itself, such as --env-file FILE.
            takes = "=" not in rest[0]
            rest = rest[2:] if takes else rest[1:]
        return tuple(rest[1:]) if rest and rest[0] in _COMMANDS else None
    return None


def inspect(pid: int) -> Observed:
    """Read a running server; `pid` may be one of its workers. Nothing is changed.

    Raises ServerError when there is no such server or it may not be read, Refused when what the process says
    and what the server answers contradict each other.
    """
    process, words = _top(pid)
    try:
        environment, cwd, cmdline = process.environ(), Path(process.cwd()), process.cmdline()
        handle = Handle(pid=process.pid, created=process.create_time())
    except psutil.AccessDenied:
        raise ServerError(
            f"PID {pid} belongs to {_owner(process)} and may not be read",
            hint="Run liftlock as the server's user or as root.",
        ) from None
    except psutil.NoSuchProcess:
        raise ServerError(f"PID {pid} ended just now") from None
    python = _interpreter(process, cmdline, environment, cwd)
    found = installed(python, environment={k: v for k, v in environment.items() if k in ("PYTHONPATH", "PYTHONHOME")})
    given = options.parse(words, environment)
    sources = {"process": f"PID {process.pid}", "python": "process arguments", "release": "environment metadata"}
    host, port = given.get("--host") or "127.0.0.1", _number(given.get("--port"), "port") or 5000
    prefix = (given.get("--static-prefix") or "").rstrip("/")
    stores = _stores(given, found.release, cwd, sources)
    app_name = given.get("--app-name")
    settings = None
    if app_name == auth.APP:
        settings = auth.read(auth.locate(environment, cwd, found.package))
        stores[Role.AUTH] = StoreUri.parse(settings.database_uri, relative_to=cwd)
        sources["stores.auth"] = str(settings.path)
    for name, option in (("host", "--host"), ("port", "--port"), ("workers", "--workers")):
        sources[name] = given.source(option)
    login = _login(settings, environment)
    version_url = process_health.base_url(host, port)
    answered, login = _ask_version(version_url, prefix, login)
    if answered is None:
        sources["release"] += " (the server was not asked: no answer or no login)"
    elif Release.parse(answered) != found.release:
        raise Refused(
            f"the server answers as MLflow {answered}, but {python} has {found.release}",
            hint="The environment was changed under the running server. Restart it or restore the environment.",
        )
    else:
        sources["release"] += " and /version"
    return Observed(
        handle=handle,
        release=found.release,
        python=python,
        installed=found,
        working_directory=cwd,
        options=given,
        environment=relevant(environment),
        host=host,
        port=port,
        workers=_number(given.get("--workers"), "workers"),
        app_name=app_name,
        static_prefix=prefix,
        stores=stores,
        artifacts=_artifacts(given, stores[Role.TRACKING], cwd, sources),
        auth=settings,
        login=login,
        sources=sources,
    )


def _top(pid: int) -> tuple[psutil.Process, tuple[str, ...]]:
    """The `mlflow server` process that a PID is or descends from, with its words."""
    try:
        process = psutil.Process(pid)
        lineage = [process, *process.parents()]
    except psutil.NoSuchProcess:
        raise ServerError(
            f"there is no process {pid}", hint="`liftlock init` without --process looks for one."
        ) from None
    # The uppermost: a forked worker has the command line of its parent.
    for candidate in reversed(lineage):
        words = server_words(_cmdline(candidate))
        if words is not None:
            return candidate, words
    if not _cmdline(process):
        raise ServerError(
            f"{process_tree.describe(pid)} may not be read",
            hint="Run liftlock as the server's user or as root.",
        )
    raise ServerError(
        f"{process_tree.describe(pid)} is not an `mlflow server`",
        hint="Give the PID of `mlflow server` or one of its workers. A worker whose `mlflow server` died, and"
        " gunicorn started without `mlflow server`, cannot be described.",
    )


def _interpreter(process: psutil.Process, cmdline: Sequence[str], environment: dict[str, str], cwd: Path) -> Path:
    """The interpreter as it was called: a virtual environment is known by that path, not by where it links to."""
    called = cmdline[0]
    if "/" in called:
        path = cwd / called
    else:
        path = Path(shutil.which(called, path=environment.get("PATH")) or process.exe())
    if path.exists():
        return path
    raise ServerError(
        f"the interpreter {path} of PID {process.pid} does not exist here",
        hint="Does the server run in a container? Then run liftlock inside it.",
    )


def _stores(given: options.ServerOptions, release: Release, cwd: Path, sources: dict[str, str]) -> dict[Role, StoreUri]:
    tracking = given.get("--backend-store-uri")
    sources["stores.tracking"] = given.source("--backend-store-uri")
    stores = {
        Role.TRACKING: StoreUri.parse(tracking or options.default_backend(release, cwd), relative_to=cwd),
    }
    if registry := given.get("--registry-store-uri"):
        uri = StoreUri.parse(registry, relative_to=cwd)
        if not uri.same_place(stores[Role.TRACKING]):
            stores[Role.REGISTRY] = uri
            sources["stores.registry"] = given.source("--registry-store-uri")
    return stores


def _artifacts(
    given: options.ServerOptions, tracking: StoreUri, cwd: Path, sources: dict[str, str]
) -> tuple[ArtifactFacts, ...]:
    """The places artifacts go to: the proxied destination and, if it is another, the default root."""
    found: list[ArtifactFacts] = []
    serves = given.is_on("--serve-artifacts", default=True)
    root = given.get("--default-artifact-root")
    if serves:
        sources["artifacts"] = given.source("--artifacts-destination")
        found.append(_place(given.get("--artifacts-destination") or "./mlartifacts", cwd, proxied=True))
    elif root is None:
        # resolve_default_artifact_root in mlflow/utils/server_cli_utils.py: a file store keeps them itself.
        root = str(tracking.path) if tracking.engine == "file" else "./mlruns"
    if root is not None and not root.startswith(("mlflow-artifacts:", "http:", "https:")):
        sources.setdefault("artifacts", given.source("--default-artifact-root"))
        place = _place(root, cwd, proxied=False)
        if place.uri not in [entry.uri for entry in found]:
            found.append(place)
    return tuple(found)


def _place(text: str, cwd: Path, *, proxied: bool) -> ArtifactFacts:
    scheme, separator, rest = text.partition(":")
    if separator and scheme != "file" and len(scheme) > 1:
        return ArtifactFacts(uri=text, local_path=None, proxied=proxied)
    path = cwd / (("/" + rest.lstrip("/")) if scheme == "file" and separator else text)
    normal = str(Path(*path.parts))
    return ArtifactFacts(uri=normal, local_path=normal, proxied=proxied)


def _login(settings: auth.AuthSettings | None, environment: dict[str, str]) -> tuple[str, Secret] | None:
    if settings is None:
        return None
    name, password = settings.admin or (settings.values.get("admin_username", ""), Secret(""))
    # From 3.16 on these variables come before the file.
    name = environment.get("MLFLOW_AUTH_ADMIN_USERNAME") or name
    if given := environment.get("MLFLOW_AUTH_ADMIN_PASSWORD"):
        password = Secret(given)
    return (name, password) if name and password else None


def _ask_version(
    base: str, prefix: str, login: tuple[str, Secret] | None
) -> tuple[str | None, tuple[str, Secret] | None]:
    """The release the server says it is, and the login if it was accepted. `/version` of 2.9.2 asks for one."""
    headers = None
    if login is not None:
        # By hand, because `status` comes through this module and urllib3 would double its start.
        token = base64.b64encode(f"{login[0]}:{login[1].reveal()}".encode()).decode()
        remember(token)
        headers = {"authorization": f"Basic {token}"}
    for path in dict.fromkeys((prefix, "")):
        reply = process_health.answer(f"{base}{path}/version", headers=headers)
        if reply is not None and reply[0] == 200:
            return reply[1].strip(), login
    return None, None


def _number(text: str | None, what: str) -> int | None:
    if text is None:
        return None
    if not text.isdigit():
        raise ServerError(f"the server's {what} is {text!r}, not a number")
    return int(text)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.Error:
        return None


def _cmdline(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _owner(process: psutil.Process) -> str:
    try:
        return f"user {process.username()}"
    except psutil.Error:
        return "another user"
