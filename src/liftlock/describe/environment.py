"""Which environment variables of a server matter, and what a Python environment says of its MLflow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from liftlock import proc
from liftlock.errors import CommandFailed, ServerError
from liftlock.model.codec import Value
from liftlock.model.release import Release

# Read by MLflow, by its servers (gunicorn, uvicorn), by database drivers and by artifact SDKs.
_KEPT = re.compile(
    r"(MLFLOW|AWS|AZURE|GOOGLE|GCS|CLOUDSDK|BOTO|S3|MINIO|OTEL|PG|MYSQL|KRB5|UVICORN|DATABRICKS)[A-Z0-9]*_?[A-Z0-9_]*\Z"
    r"|(GUNICORN_CMD_ARGS|WEB_CONCURRENCY|FORWARDED_ALLOW_IPS|SSL_CERT_FILE|SSL_CERT_DIR|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    r"|(HTTP|HTTPS|NO|ALL)_PROXY|(http|https|no|all)_proxy|PROMETHEUS_MULTIPROC_DIR)\Z"
)
# What any program needs of the machine; a variable of ours that could change which code runs is not among them.
_MACHINE = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "SHELL")
_QUESTION = (
    "import importlib.metadata as m, importlib.util as u, json, os, platform\n"
    "s = u.find_spec('mlflow')\n"
    "print(json.dumps({'version': m.version('mlflow'), 'package': os.path.dirname(s.origin),"
    " 'python': platform.python_version()}))\n"
)


class Installed(Value, frozen=True):
    """The MLflow of one Python environment: its release, the directory of its package, the version of Python."""

    version: str
    package: Path
    python: str

    @property
    def release(self) -> Release:
        """The release as the environment's metadata names it."""
        return Release.parse(self.version)


def relevant(environment: Mapping[str, str]) -> dict[str, str]:
    """Those variables that change what a server does. Private ones (`_MLFLOW_*`) are set by MLflow itself."""
    return {name: value for name, value in sorted(environment.items()) if _KEPT.match(name)}


def machine() -> dict[str, str]:
    """The variables of this process that a server gets from the machine: paths, locale, time zone."""
    return {name: os.environ[name] for name in _MACHINE if name in os.environ}


def installed(python: Path, *, environment: Mapping[str, str] | None = None) -> Installed:
    """Ask an environment for its MLflow without importing it. Raises ServerError when there is none."""
    try:
        # In "/" no directory of the server's can shadow a module.
        done = proc.run(
            [python, "-c", _QUESTION],
            timeout=60,
            cwd=Path("/"),
            env={**machine(), **(environment or {})},
            what="python",
        )
        return Installed(**{**json.loads(done.stdout), "package": Path(json.loads(done.stdout)["package"])})
    except (CommandFailed, ValueError, KeyError, TypeError) as error:
        raise ServerError(
            f"{python} has no MLflow: {error}",
            hint="Name the interpreter of the environment the server runs in (server.python).",
        ) from error
