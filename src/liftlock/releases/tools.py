"""What a release's own code does for us: its heads, its migration, its client, its command line."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from liftlock.effects import side_effect
from liftlock.errors import ReleaseError, UsageError
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.progress import Observer, Progress, silent
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


class RevisionRun(Value, frozen=True):
    """One revision that was run and its seconds (the last one's hold the commit too)."""

    id: str
    seconds: float


class MigrationReport(Value, frozen=True):
    """What a migration did: the revision before and after (None: no schema) and each revision it ran."""

    from_revision: str | None
    to_revision: str | None
    revisions: tuple[RevisionRun, ...]
    seconds: float


class WarmWorker:
    """A process that has imported what a migration needs and waits: the import (5 s) is not part of the window."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

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
            revisions=tuple(RevisionRun(id=name, seconds=seconds) for name, seconds in report["revisions"]),
            seconds=report["seconds"],
        )


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

    @contextmanager
    def warm(self, *, auth: bool = False, timeout: float = 120.0) -> Iterator[WarmWorker]:
        """A worker that is ready to migrate; `auth` imports the auth chain's code too. It ends with the block."""
        with Worker(self.environment.python, self._name) as worker:
            worker.call("migrate", "warm", {"auth": auth}, timeout=timeout)
            yield WarmWorker(worker)

    def migrate(
        self, uri: StoreUri, chain: Role, *, timeout: float, observer: Observer = silent
    ) -> MigrationReport:  # fmt: skip
        """As `WarmWorker.migrate`, with a process of its own; its start is part of `timeout`."""
        with Worker(self.environment.python, self._name) as worker:
            return WarmWorker(worker).migrate(uri, chain, timeout=timeout, observer=observer)

    def cli(
        self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None, timeout: float, check: bool = True
    ) -> Completed:
        """Run `mlflow ARGUMENTS...`. Raises CommandFailed; hand secrets over in `env`, never in the arguments."""
        return run(
            [self.environment.python, "-m", "mlflow", *arguments],
            timeout=timeout, env=clean_environment(env), check=check, what=f"mlflow {' '.join(arguments[:2])}",
        )  # fmt: skip

    def _call(
        self, module: str, arguments: Mapping[str, Any], *, timeout: float, env: Mapping[str, str],
        progress: Callable[[Any], None],
    ) -> Any:  # fmt: skip
        with Worker(self.environment.python, self._name, env=env) as worker:
            return worker.call(module, module, arguments, timeout=timeout, progress=progress)


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
