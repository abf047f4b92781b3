"""A person's own environment: recorded as it is, never modified; and what of it a new environment must carry."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.errors import CommandFailed, ReleaseError
from liftlock.model.codec import Value, from_builtins
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.lock import compile_lock
from liftlock.releases.uv import IndexUnreachable
from liftlock.releases.worker import InsideFailed, Worker

# What a tracking server uses beside MLflow's own dependencies, by canonical name.
_DRIVERS = {"psycopg2", "psycopg2-binary", "psycopg", "psycopg-binary", "pymysql", "mysqlclient", "pyodbc"}
_SERVED = _DRIVERS | {
    "boto3", "google-cloud-storage", "azure-storage-blob", "azure-storage-file-datalake", "azure-identity",
    "gevent", "eventlet", "gthread", "prometheus-flask-exporter", "flask-wtf", "pysftp", "hdfs", "cryptography",
}  # fmt: skip
# These come with the engine (knowledge/data/constraints.toml), in the form the new release's SQLAlchemy wants.
_ENGINE_DRIVERS = {Engine.POSTGRESQL: {"psycopg2", "psycopg2-binary", "psycopg", "psycopg-binary"}}
_MISSING = re.compile(r"(?:there is no version of |Because )(?P<name>[A-Za-z0-9._-]+)(?:==\S+| was not found)")


class Distribution(Value, frozen=True):
    """One installed distribution: `groups` are its entry-point groups, `direct_url` PEP 610's JSON or empty."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    direct_url: str = ""

    @property
    def key(self) -> str:
        """The canonical name."""
        return canonicalize_name(self.name)

    @property
    def origin(self) -> str:
        """The URL it was installed from when that was not an index, else empty."""
        return _origin(self.direct_url)


class Description(Value, frozen=True):
    """What is installed in one Python."""

    python_version: str
    prefix: str
    package: str
    distributions: tuple[Distribution, ...]


class _Vcs(msgspec.Struct):
    vcs: str
    commit_id: str = ""


class _DirectUrl(msgspec.Struct):
    url: str
    vcs_info: _Vcs | None = None


def describe(python: Path) -> Description:
    """Ask a Python what is installed in it. Raises ReleaseError when it does not run or has no MLflow."""
    try:
        with Worker(python, str(python)) as worker:
            return from_builtins(worker.call("describe", "describe", {}, timeout=60), Description)
    except CommandFailed as error:
        raise ReleaseError(f"{python} does not run as a Python", hint="Name the server's interpreter.") from error
    except InsideFailed as error:
        if error.kind == "LookupError":
            raise ReleaseError(f"{error.text}: {python}", hint="Name the interpreter that runs the server.") from error
        raise


def lock_of(description: Description, python: Path) -> tuple[str, tuple[str, ...]]:
    """The lock of what is installed, and the names the index cannot give again.

    Without the index the lock holds bare pins; a rebuild then fetches the hashes first.
    """
    unlocked = [entry.name for entry in description.distributions if entry.origin]
    pins = {entry.key: f"{entry.name}=={entry.version}" for entry in description.distributions if not entry.origin}
    release = mlflow_release(description)
    while True:
        try:
            return compile_lock(tuple(pins.values()), python, release, dependencies=False), tuple(sorted(unlocked))
        except IndexUnreachable:
            return "".join(f"{pin}\n" for pin in pins.values()), tuple(sorted(unlocked))
        except ReleaseError as error:
            missing = [canonicalize_name(match["name"]) for match in _MISSING.finditer(error.message)]
            gone = [name for name in missing if name in pins]
            if not gone:
                raise
            for name in gone:
                pins.pop(name)
                unlocked.append(name)


def mlflow_release(description: Description) -> Release:
    """The release of MLflow that is installed."""
    return next(Release.parse(entry.version) for entry in description.distributions if entry.key == "mlflow")


def carried(distributions: Iterable[Distribution], engines: Collection[Engine]) -> tuple[str, ...]:
    """Requirements that the server needs beside MLflow and what MLflow itself pulls in, sorted.

    Database drivers that do not come with `engines`, cloud SDKs, and whatever registers an `mlflow.*` entry
    point. Names without versions, because the new release may need newer ones; what was installed from a URL or a
    directory keeps that.
    """
    installed = {entry.key: entry for entry in distributions}
    own = _closure(installed)
    given = {name for engine in engines for name in _ENGINE_DRIVERS.get(engine, ())}
    wanted = []
    for key, entry in installed.items():
        plugin = any(group == "mlflow" or group.startswith("mlflow.") for group in entry.groups)
        if key in own or key in given or not (plugin or key in _SERVED):
            continue
        wanted.append(f"{entry.name} @ {entry.origin}" if entry.origin else entry.name)
    return tuple(sorted(wanted))


def _closure(installed: dict[str, Distribution]) -> set[str]:
    """MLflow and everything it requires without extras, by canonical name."""
    seen: set[str] = set()
    waiting = ["mlflow"]
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        for text in installed[key].requires if key in installed else ():
            try:
                requirement = Requirement(text)
            except InvalidRequirement:
                continue  # metadata of old packages; what it meant can at worst be installed once more
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(canonicalize_name(requirement.name))
    return seen


def _origin(direct_url: str) -> str:
    if not direct_url:
        return ""
    data = msgspec.json.decode(direct_url, type=_DirectUrl)
    if data.vcs_info is None:
        return data.url
    commit = f"@{data.vcs_info.commit_id}" if data.vcs_info.commit_id else ""
    return f"{data.vcs_info.vcs}+{data.url}{commit}"
