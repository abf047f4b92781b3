"""What a release's own code does for us: its heads, its migration, its client, its command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from liftlock.effects import side_effect
from liftlock.errors import ReleaseError, UsageError
from liftlock.model.codec import Value, from_builtins, to_builtins
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.model.secret import Secret, redact
from liftlock.model.uri import StoreUri
from liftlock.proc import Completed, run
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environment
from liftlock.releases.worker import Worker

_FIELD = re.compile(r"^(revision|down_revision)(?:\s*:[^=\n]+)?\s*=\s*(\([^)]*\)|[^#\n]+)", re.MULTILINE)


class Heads(Value, frozen=True):
    """The revisions a release knows, oldest first, per chain; `auth` is empty before basic-auth existed."""

    tracking: tuple[str, ...]
    auth: tuple[str, ...]

    def chain(self, role: Role) -> tuple[str, ...]:
        """The revisions of the chain a database of this role follows."""
        return self.auth if role is Role.AUTH else self.tracking

    def head(self, role: Role) -> str | None:
        """The newest revision of a chain, or None."""
        chain = self.chain(role)
        return chain[-1] if chain else None


class MigrationReport(Value, frozen=True):
    """What a migration did: the revision before and after (None: no schema) and (revision, seconds) of each it ran.

    The last revision's seconds hold the commit too.
    """

    from_revision: str | None
    to_revision: str | None
    revisions: tuple[tuple[str, float], ...]
    seconds: float


class SmokeOperation(Value, frozen=True):
    """One thing a real client did: `outcome` is ok, failed or skipped; `message` says why not ok."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    seconds: float
    message: str = ""


class SmokeCreated(Value, frozen=True):
    """What a smoke made on the server, for erasing its rows."""

    experiment_id: str | None
    experiment_name: str
    run_ids: tuple[str, ...]
    model_name: str | None
    logged_model_ids: tuple[str, ...]


class SmokeReport(Value, frozen=True):
    """A real client's round against a server."""

    client: Release
    operations: tuple[SmokeOperation, ...]
    created: SmokeCreated

    @property
    def failed(self) -> tuple[SmokeOperation, ...]:
        """The operations that failed."""
        return tuple(operation for operation in self.operations if operation.outcome == "failed")


class Erased(Value, frozen=True):
    """Names of the smoke experiments that were erased, and rows per table that still name something of theirs."""

    erased: tuple[str, ...]
    remaining: dict[str, int]


class PopulateSize(Value, frozen=True):
    """How much data to make. `points` are per metric and run (three metrics each), `artifacts` files per second run,
    `versions` per model.
    """

    experiments: int = 3
    runs: int = 20
    points: int = 50
    params: int = 5
    tags: int = 3
    artifacts: int = 1
    models: int = 2
    versions: int = 2
    traces: int = 5


class WarmWorker:
    """A process that has imported what its work needs and waits: the import (2 to 5 s) is not part of the window."""

    def __init__(self, worker: Worker, release: Release) -> None:
        self._worker = worker
        self._release = release

    def __enter__(self) -> WarmWorker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process. Repeatable."""
        self._worker.close()

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._worker.pid

    def migrate(
        self, uri: StoreUri, chain: Role, *, timeout: float, observer: Observer = silent
    ) -> MigrationReport:  # fmt: skip
        """Upgrade one database to the release's head with the release's own code, within `timeout` seconds.

        Raises ReleaseError when it fails, dies, or is not done in time (it is then killed: PostgreSQL rolls the
        whole migration back, SQLite stays at the last finished revision).
        """
        role = _chain(chain)

        def progress(value: Any) -> None:
            observer(Progress(work=f"migrate {role}: {value['revision']}", done=value["done"], unit="revisions"))

        with side_effect(f"migrate {role}"):
            report = self._worker.call(
                "migrate", "migrate", {"uri": uri.reveal(), "chain": role}, timeout=timeout, progress=progress
            )
        return MigrationReport(
            from_revision=report["from"],
            to_revision=report["to"],
            revisions=tuple((name, seconds) for name, seconds in report["revisions"]),
            seconds=report["seconds"],
        )

    def smoke(
        self, url: str, *, username: str | None = None, password: Secret | None = None, model: bool = True,
        cleanup: bool = True, timeout: float = 180.0, observer: Observer = silent,
    ) -> SmokeReport:  # fmt: skip
        """As `ReleaseTools.smoke`, without starting a process for it."""
        started: list[str] = []

        def progress(value: Any) -> None:
            started.append(value["operation"])
            work = f"MLflow {self._release} client: {value['operation']}"
            observer(Progress(work=work, done=len(started), unit="operations"))

        arguments = {"model": model, "cleanup": cleanup, "environment": client_environment(url, username, password)}
        with side_effect("smoke"):
            found = self._worker.call("smoke", "smoke", arguments, timeout=timeout, progress=progress)
        return SmokeReport(
            client=self._release,
            operations=tuple(
                SmokeOperation(name=name, outcome=outcome, seconds=seconds, message=redact(message))
                for name, outcome, seconds, message in found["operations"]
            ),
            created=from_builtins(found["created"], SmokeCreated),
        )

    def erase(
        self, uri: StoreUri, reports: Iterable[SmokeReport], *, auth: StoreUri | None = None, timeout: float = 120.0
    ) -> Erased:
        """As `ReleaseTools.erase`, without starting a process for it."""
        ids = [report.created.experiment_id for report in reports if report.created.experiment_id is not None]
        arguments = {
            "uri": uri.reveal(), "experiment_ids": ids, "artifact_root": "mlflow-artifacts:/",
            "auth_uri": auth.reveal() if auth is not None else None,
        }  # fmt: skip
        with side_effect("erase smoke"):
            return from_builtins(self._worker.call("erase", "erase", arguments, timeout=timeout), Erased)


class ReleaseTools:
    """The tools of one environment. Every method runs the release's own code with a deadline."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self._name = f"MLflow {environment.release}"

    def heads(self) -> Heads:
        """The release's revisions, read from its migration files without importing anything."""
        package = self.environment.package
        tracking = revisions(package / "store" / "db_migrations" / "versions")
        if not tracking:
            raise ReleaseError(f"{self._name} has no migrations in {package}")
        return Heads(tracking=tracking, auth=revisions(package / "server" / "auth" / "db" / "migrations" / "versions"))

    def warm(self, *, auth: bool = True, timeout: float = 120.0) -> WarmWorker:
        """A worker that is ready to migrate (the auth chain only with `auth`: its code takes a second to import).

        Close it, or use it as a context manager.
        """
        return self._warm("migrate", {"auth": auth}, timeout)

    def warm_client(self, *, timeout: float = 120.0) -> WarmWorker:
        """A worker that is ready to be a client, and for nothing else. Close it, or use it as a context manager."""
        return self._warm("smoke", {}, timeout)

    def _warm(self, module: str, arguments: Mapping[str, Any], timeout: float) -> WarmWorker:
        worker = Worker(self.environment.python, self._name)
        try:
            worker.call(module, "warm", arguments, timeout=timeout)
        except BaseException:
            worker.close()
            raise
        return WarmWorker(worker, self.environment.release)

    def migrate(
        self, uri: StoreUri, chain: Role, *, timeout: float, observer: Observer = silent
    ) -> MigrationReport:  # fmt: skip
        """As `WarmWorker.migrate`, with a process of its own; its start is part of `timeout`."""
        with Worker(self.environment.python, self._name) as worker:
            return WarmWorker(worker, self.environment.release).migrate(uri, chain, timeout=timeout, observer=observer)

    def cli(
        self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float, check: bool = True
    ) -> Completed:
        """Run `mlflow ARGUMENTS...`. Raises CommandFailed; hand secrets over in `env`, never in the arguments."""
        return run(
            [self.environment.python, "-m", "mlflow", *arguments],
            timeout=timeout, env=clean_environment(env), check=check, what=f"mlflow {' '.join(arguments[:2])}",
        )  # fmt: skip

    def smoke(
        self, url: str, *, username: str | None = None, password: Secret | None = None, model: bool = True,
        cleanup: bool = True, timeout: float = 180.0, observer: Observer = silent,
    ) -> SmokeReport:  # fmt: skip
        """Make a real client of this release work with the server at `url`, and clean up after itself.

        A failed operation is in the report, not raised: what an older or newer server lacks is the caller's to judge.
        `model=False` leaves out the model operations (most of the time). Deleted rows stay until `erase`.
        """
        with Worker(self.environment.python, self._name) as worker:
            return WarmWorker(worker, self.environment.release).smoke(
                url, username=username, password=password, model=model, cleanup=cleanup, timeout=timeout,
                observer=observer,
            )  # fmt: skip

    def erase(
        self, uri: StoreUri, reports: Iterable[SmokeReport], *, auth: StoreUri | None = None, timeout: float = 120.0,
    ) -> Erased:  # fmt: skip
        """Erase the rows that smokes left as deleted, and nothing else, from a database at this release's head.

        Smokes delete their artifacts and registered models themselves; this is for runs, experiments and logged
        models, which MLflow only marks, and for the permissions that basic-auth (`auth`: its database) gave to
        their creator. Never through `mlflow gc`, which takes a user's deleted experiments or models along. The
        server may run. Raises ReleaseError; repeatable.
        """
        with Worker(self.environment.python, self._name) as worker:
            return WarmWorker(worker, self.environment.release).erase(uri, reports, auth=auth, timeout=timeout)

    def populate(
        self, url: str, *, size: PopulateSize | None = None, username: str | None = None,
        password: Secret | None = None, users: Sequence[tuple[str, Secret]] = (), prefix: str = "demo", seed: int = 1,
        timeout: float = 300.0, observer: Observer = silent,
    ) -> dict[str, int]:  # fmt: skip
        """Fill a server with data of every kind this release has, by its real client; counts by kind.

        `users` are created in basic-auth with permissions; that needs an administrator's login.
        """
        arguments = {
            **to_builtins(size or PopulateSize()), "prefix": prefix, "seed": seed, "url": url,
            "users": [[name, secret.reveal()] for name, secret in users],
        }  # fmt: skip

        def progress(value: Any) -> None:
            observer(Progress(work=f"{self._name} client: {value['kind']}", done=value["done"], unit=value["kind"]))

        with side_effect("populate"):
            found = self._client(url, username, password, timeout, progress, "populate", arguments)
        return {str(kind): int(number) for kind, number in found.items()}

    def _client(
        self, url: str, username: str | None, password: Secret | None, timeout: float,
        progress: Callable[[Any], None], module: str, arguments: Mapping[str, Any],
    ) -> Any:  # fmt: skip
        """Run a client script in a process of its own."""
        env = client_environment(url, username, password)
        with Worker(self.environment.python, self._name, env=env) as worker:
            return worker.call(module, module, arguments, timeout=timeout, progress=progress)


def client_environment(url: str, username: str | None, password: Secret | None) -> dict[str, str]:
    """Variables for a client; retries are few, so that a dead server is an answer and not a wait of minutes."""
    env = {
        "MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    }  # fmt: skip
    if username is not None:
        env["MLFLOW_TRACKING_USERNAME"] = username
        env["MLFLOW_TRACKING_PASSWORD"] = password.reveal() if password else ""
    return env


def revisions(directory: Path) -> tuple[str, ...]:
    """The chain of a directory of Alembic scripts, oldest first. Raises ReleaseError unless it is one line."""
    below: dict[str | None, str] = {}
    for path in directory.glob("*.py"):
        fields = {name: _literal(path, text) for name, text in _FIELD.findall(path.read_text(encoding="utf-8"))}
        if "revision" not in fields:
            continue
        parent = fields.get("down_revision")
        if not (parent is None or isinstance(parent, str)) or parent in below:
            raise ReleaseError(f"the migrations in {directory} are not one line: {path.name}")
        below[parent] = str(fields["revision"])
    chain: list[str] = []
    at: str | None = None
    while at in below:
        at = below.pop(at)
        chain.append(at)
    if below:
        raise ReleaseError(f"the migrations in {directory} are not one line: {min(below.values())} has no parent")
    return tuple(chain)


def _literal(path: Path, text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError) as error:
        raise ReleaseError(f"{path.name} does not state its revision plainly") from error


def _chain(role: Role) -> str:
    """The registry follows the tracking chain (MLflow keeps both in one schema)."""
    if role not in Role:
        raise UsageError(f"{role!r} is not a chain of migrations")
    return "auth" if role is Role.AUTH else "tracking"
