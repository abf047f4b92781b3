"""Reaching a PostgreSQL database: libpq parameters from a URI, sessions, one-line errors, `:name` parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from liftlock.errors import StoreError
from liftlock.model.secret import redact
from liftlock.model.uri import SECRET_OPTIONS, StoreUri

APPLICATION = "liftlock"
_CONNECT_TIMEOUT = 10  # seconds; libpq's default is to wait for ever
# Text of values must not depend on the server's or the login's settings, and a long read must not be cut.
_SESSION = """
SELECT set_config(s.name, w.value, false)
  FROM (VALUES ('extra_float_digits', '3'), ('TimeZone', 'UTC'), ('DateStyle', 'ISO, YMD'),
               ('IntervalStyle', 'postgres'), ('bytea_output', 'hex'), ('row_security', 'off'), ('jit', 'off'),
               ('statement_timeout', '0'), ('lock_timeout', '0'), ('transaction_timeout', '0'),
               ('idle_in_transaction_session_timeout', '0'), ('idle_session_timeout', '0')) AS w(name, value)
  JOIN pg_catalog.pg_settings s ON lower(s.name) = lower(w.name)
"""

Connection = psycopg.Connection[tuple[Any, ...]]


def parameters(uri: StoreUri, *, database: str | None = None) -> dict[str, str]:
    """libpq's parameters for a URI, the password among them: for a driver only, never for a message.

    Options of the URI's query are libpq's (`host`, `options`, `sslmode`, ...), as psycopg2 takes them from
    SQLAlchemy; several `host=name:port` make a list, as there.
    """
    hosts = [value for name, value in uri.query if name == "host"]
    given = {name: value for name, value in uri.query if name != "host"}
    if hosts:
        pairs = [_host_and_port(host) if len(hosts) > 1 else (host, "") for host in hosts]
        given["host"] = ",".join(host for host, _ in pairs)
        if any(port for _, port in pairs):
            given["port"] = ",".join(port for _, port in pairs)
    own = {
        "host": uri.host, "port": str(uri.port or ""), "user": uri.username,
        "password": uri.password.reveal() if uri.password else "", "dbname": uri.database,
    }  # fmt: skip
    merged = {"connect_timeout": str(_CONNECT_TIMEOUT), **{k: v for k, v in own.items() if v}, **given}
    merged["application_name"] = APPLICATION
    if database is not None:
        merged["dbname"] = database
    return merged


def without_secrets(given: Mapping[str, str]) -> str:
    """A connection string that may stand among a program's arguments."""
    return make_conninfo("", **{name: value for name, value in given.items() if name not in SECRET_OPTIONS})


@contextmanager
def session(uri: StoreUri, *, database: str | None = None) -> Iterator[Connection]:
    """A connection in autocommit mode with settled settings; every driver error in it becomes a StoreError."""
    with translated(uri):
        given: dict[str, Any] = dict(parameters(uri, database=database))
        try:
            connection = psycopg.connect(autocommit=True, **given)
        except psycopg.ProgrammingError as error:  # an option libpq does not know
            raise StoreError(
                f"the database URI cannot be used: {_line(error)}", hint="Check the options after the `?`."
            ) from None
        with connection:
            connection.execute(_SESSION)
            yield connection


@contextmanager
def snapshot_transaction(connection: Connection, snapshot: str | None = None) -> Iterator[None]:
    """One read-only transaction that sees one moment: its own, or that of an exported snapshot."""
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        if snapshot is not None:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield
    finally:
        if not connection.closed:
            connection.execute("ROLLBACK")


@contextmanager
def translated(uri: StoreUri) -> Iterator[None]:
    """Turn errors of the driver into a StoreError of one redacted line with a hint."""
    try:
        yield
    except psycopg.Error as error:
        raise _translate(error, uri) from None  # the driver's own text may quote the connection string


def _translate(error: psycopg.Error, uri: StoreUri) -> StoreError:
    line = _line(error)
    place = redact(str(uri))
    if error.sqlstate is None and isinstance(error, psycopg.OperationalError):
        if "password authentication failed" in line or "no password supplied" in line:
            return StoreError(f"{place}: the login was refused: {line}", hint="Check user and password of the URI.")
        if missing_database(line):
            return StoreError(f"{place}: {line}", hint="Check the database's name in the URI.")
        if "no pg_hba.conf entry" in line:
            return StoreError(f"{place}: {line}", hint="Let this machine and user in (pg_hba.conf).")
        return StoreError(f"{place}: {line}", hint="Is the server up and reachable from this machine?", retryable=True)
    if error.sqlstate == "42501":
        return StoreError(f"{place}: {line}", hint="Grant the login this right, or use the owner of the database.")
    gone = error.sqlstate is not None and error.sqlstate[:2] in ("08", "57", "53", "40", "55")
    return StoreError(f"{place}: {line}", hint="Try again." if gone else "", retryable=gone)


def missing_database(line: str) -> bool:
    """Whether a driver's line says that the database is not there."""
    return re.search(r'database ".*" does not exist', line) is not None


def _line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    lines = [part.strip() for part in text.splitlines() if part.strip()]
    return redact(lines[0] if lines else type(error).__name__)


def _host_and_port(text: str) -> tuple[str, str]:
    host, colon, port = text.rpartition(":")
    return (host, port) if colon and port.isdigit() else (text, "")


_TOKEN = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$
      | --[^\n]* | /\*.*?\*/ | :: | :(?P<name>[A-Za-z_]\w*)""",
    re.DOTALL | re.VERBOSE,
)


def bind(query: str, given: Mapping[str, Any] | None) -> tuple[str, dict[str, Any] | None]:
    """A query with `:name` parameters as psycopg takes it; strings, casts and comments are left alone."""
    if not given:
        return query, None
    parts: list[str] = []
    at = 0
    for token in _TOKEN.finditer(query):
        parts.append(query[at : token.start()].replace("%", "%%"))
        name = token["name"]
        parts.append(f"%({name})s" if name in given else token[0].replace("%", "%%"))
        at = token.end()
    parts.append(query[at:].replace("%", "%%"))
    return "".join(parts), dict(given)
