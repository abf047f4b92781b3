"""What a deployment *is*, as observed: the server, its databases, its artifacts, where each fact came from."""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime

import msgspec

from liftlock.model.codec import Value, to_json
from liftlock.model.release import Release
from liftlock.model.uri import Engine

FORMAT = 1


class Role(enum.StrEnum):
    """What a database is for. `tracking` holds the registry too unless a registry store is named."""

    TRACKING = "tracking"
    REGISTRY = "registry"
    AUTH = "auth"


class TableFacts(Value, frozen=True):
    """One table: its rows (exact where cheap, else the engine's estimate) and bytes where the engine tells."""

    name: str
    rows: int
    bytes: int | None = None


class Writer(Value, frozen=True):
    """Somebody who has the database open: a process (SQLite) or a connection (PostgreSQL)."""

    pid: int | None
    description: str


class StoreFacts(Value, frozen=True):
    """One database as observed.

    `uri` is redacted. `revision` is the Alembic revision, read from `version_table`; None where there is none.
    `versions` lists every row of every `alembic_version*` table: more than the expected one means another
    owner. `journal_mode` is SQLite's; `rights` are the named abilities of the login (`create database`, ...).
    """

    role: Role
    engine: Engine
    uri: str
    engine_version: str
    revision: str | None
    version_table: str | None
    versions: dict[str, tuple[str, ...]]
    tables: tuple[TableFacts, ...]
    bytes: int
    journal_mode: str | None = None
    rights: dict[str, bool] = msgspec.field(default_factory=dict)
    writers: tuple[Writer, ...] = ()

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(table.rows for table in self.tables)


class ServerFacts(Value, frozen=True):
    """The tracking server as observed.

    `arguments` are the words after `mlflow server`, redacted; `environment` holds only variables that MLflow or
    its drivers read (`MLFLOW_*`, cloud credentials by name), redacted. `python` is the interpreter it runs on.
    `created` is the process's start time in seconds since the epoch: with `pid` it names one process for ever.
    """

    release: Release
    python: str
    host: str
    port: int
    workers: int | None
    working_directory: str
    arguments: tuple[str, ...]
    environment: dict[str, str]
    static_prefix: str = ""
    app_name: str | None = None
    pid: int | None = None
    created: float | None = None

    @property
    def url(self) -> str:
        """Where this machine reaches the server (a wildcard address is reached over loopback)."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"http://{host}:{self.port}{self.static_prefix}"


class ArtifactFacts(Value, frozen=True):
    """Where artifacts lie: the proxied destination or the default root, and whether it is a local directory."""

    uri: str
    local_path: str | None
    proxied: bool


class Deployment(Value, frozen=True):
    """Everything liftlock knows of one deployment at one moment. `sources` maps a field to where it was read."""

    name: str
    taken_at: datetime
    runtime: str
    server: ServerFacts
    stores: tuple[StoreFacts, ...]
    artifacts: tuple[ArtifactFacts, ...]
    sources: dict[str, str] = msgspec.field(default_factory=dict)
    format: int = FORMAT

    def store(self, role: Role) -> StoreFacts | None:
        """The database with this role, or None."""
        return next((store for store in self.stores if store.role is role), None)

    @property
    def digest(self) -> str:
        """SHA-256 over what a plan depends on: not over sizes, rows, process numbers or times."""
        parts = {
            "runtime": self.runtime,
            "release": self.server.release.version,
            "python": self.server.python,
            "host": self.server.host,
            "port": str(self.server.port),
            "arguments": list(self.server.arguments),
            "environment": self.server.environment,
            "stores": [
                [store.role, store.engine, store.uri, store.revision, store.version_table] for store in self.stores
            ],
            "artifacts": [[root.uri, root.proxied] for root in self.artifacts],
        }
        return hashlib.sha256(to_json(parts).encode()).hexdigest()
