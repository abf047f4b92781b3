"""Asking a server whether it is up, and reading from its last words why it is not."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONNECT, _READ = 1.0, 3.0

# What the last lines of a server that died say, and what to do about it. Texts from MLflow 2.9.2 to 3.18.0.
_DIAGNOSES: tuple[tuple[str, str], ...] = (
    (
        r"address already in use|Connection in use|Errno 98",
        "Another process listens on the port. Stop it or choose another port.",
    ),
    (
        r"Can't locate revision identified by '?(?P<what>\w+)",
        "The database is at revision {what}, which this release does not know: it was migrated by a newer MLflow"
        " (or another application uses the same alembic_version table). Start the newer release or restore a snapshot.",
    ),
    (
        r"out-of-date database schema \(found version (?P<what>\w+)",
        "The database (at {what}) does not have the schema this release expects; run the upgrade's migration first.",
    ),
    (
        r"_alembic_tmp_\w+ already exists",
        "An earlier migration died half-way and left a temporary table; `liftlock check` names it.",
    ),
    (
        r"password to create the admin user|insecure default password|MLFLOW_AUTH_ADMIN_PASSWORD",
        "basic-auth has no usable admin: set MLFLOW_AUTH_ADMIN_PASSWORD in server.environment.",
    ),
    (
        r"MLFLOW_FLASK_SERVER_SECRET_KEY",
        "basic-auth of this release needs MLFLOW_FLASK_SERVER_SECRET_KEY in server.environment.",
    ),
    (
        r"Flask-WTF",
        "basic-auth of this release needs the environment built with the extra: mlflow[auth].",
    ),
    (
        r"filesystem tracking backend|MLFLOW_ALLOW_FILE_STORE",
        "This release refuses file stores; migrate to a database first.",
    ),
    (
        r"No such option:? (?P<what>\S+)",
        "This release does not know {what}; remove it from server.arguments.",
    ),
    (
        r"No module named '(?P<what>[\w.]+)'",
        "The environment lacks the Python module {what} (a database driver or a plugin).",
    ),
    (
        r"FallbackAsyncAdaptedQueuePool",
        "The environment has SQLAlchemy 2.1, which this release cannot use; it needs sqlalchemy<2.1.",
    ),
    (
        r"password authentication failed|Access denied for user",
        "The database refused the login; check the password behind the store URI.",
    ),
    (
        r"could not connect to server|Connection refused|connection failed",
        "The database could not be reached from the server.",
    ),
    (r"database is locked", "Another process holds the SQLite database locked."),
    (r"unable to open database file", "The SQLite file or its directory is not writable for the server's user."),
    (r"disk is full|No space left on device", "The disk is full."),
    (r"Permission denied", "The server's user lacks a permission on a file or port; see the lines above."),
    (r"MemoryError|Out of memory|Killed", "The machine ran out of memory."),
)


def answer(url: str, *, headers: dict[str, str] | None = None) -> tuple[int, str] | None:
    """Status and text (at most 200 characters) of a GET, or None when nobody answers. Never raises."""
    import urllib3  # `status` finds a server without ever asking it

    timeout = urllib3.Timeout(connect=_CONNECT, read=_READ)
    try:
        # Retries would turn a server that is still starting into a long wait.
        reply = urllib3.request("GET", url, headers=headers, timeout=timeout, retries=False, redirect=False)
    except urllib3.exceptions.HTTPError:
        return None
    return reply.status, reply.data.decode("utf-8", "replace")[:200]


def healthy(host: str, port: int, static_prefix: str = "") -> bool:
    """Whether `/health` answers 200. Old releases serve it without the static prefix, newer ones only below it."""
    base = base_url(host, port)
    prefixes = dict.fromkeys((static_prefix.rstrip("/"), ""))
    return any((reply := answer(f"{base}{prefix}/health")) is not None and reply[0] == 200 for prefix in prefixes)


def base_url(host: str, port: int) -> str:
    """Where this machine reaches a server that binds `host`; a wildcard address is reached over loopback."""
    reach = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{reach}]:{port}" if ":" in reach else f"http://{reach}:{port}"


def diagnose(lines: Sequence[str]) -> str:
    """A hint for a server that died with these last lines of its log; empty when nothing known is in them."""
    text = "\n".join(lines)
    for pattern, hint in _DIAGNOSES:
        if match := re.search(pattern, text, re.IGNORECASE):
            return hint.format(**match.groupdict())
    return ""
