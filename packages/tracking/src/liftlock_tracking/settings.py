"""What the application's environment says: switches, bounds, places and policies.

Read when first needed, never at import. Only the two switches are read again at every call.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ENABLE_TRACKING = "MLFLOW_ENABLE_TRACKING"
ENABLE_TRACING = "MLFLOW_ENABLE_TRACING"
ENV_FILE = "LIFTLOCK_TRACKING_ENV_FILE"
OFF_URI = "liftlock+off:"
PREFIX = "liftlock+"

_FALSE = frozenset({"0", "false", "no", "off"})
POLICIES = ("keep", "block", "drop-metrics", "stop")
FSYNC = ("group", "always", "never")
REGISTRY = ("wait", "later")


@dataclass(frozen=True)
class Settings:
    """Bounds in seconds, sizes in bytes."""

    uri: str
    """The server itself: the URI without `liftlock+`."""
    spool: Path
    """This server's own folder in the spool."""
    call_bound: float = 0.05
    """Longest a mutating call may wait (a run's creation waits this long for the server's own id)."""
    read_bound: float = 2.0
    """Longest a reading call, or a registry call that needs an answer, may take."""
    exit_bound: float = 3.0
    """Longest the interpreter's exit waits for the spool to be shipped."""
    request_timeout: float = 10.0
    """Longest the shipper waits for one answer."""
    cap: int = 1 << 30
    full: str = "keep"
    fsync: str = "group"
    registry: str = "wait"
    """What a registration does while the server is away: `wait` within the read bound and fail, or `later`."""


class SettingsError(ValueError):
    """An environment variable holds something that cannot be meant; the message names it."""


def load(store_uri: str) -> Settings:
    """Settings for a `liftlock+http(s)://` URI from the environment. Raises SettingsError."""
    uri = store_uri[len(PREFIX) :] if store_uri.startswith(PREFIX) else store_uri
    uri = uri.rstrip("/")
    env = os.environ
    return Settings(
        uri=uri,
        spool=spool_root() / place(uri),
        call_bound=_number("LIFTLOCK_TRACKING_CALL_BOUND", 0.05),
        read_bound=_number("LIFTLOCK_TRACKING_READ_BOUND", 2.0),
        exit_bound=_number("LIFTLOCK_TRACKING_EXIT_BOUND", 3.0),
        request_timeout=_number("LIFTLOCK_TRACKING_REQUEST_TIMEOUT", 10.0),
        cap=int(_number("LIFTLOCK_TRACKING_CAP_MB", 1024.0) * (1 << 20)),
        full=_choice("LIFTLOCK_TRACKING_FULL", env.get("LIFTLOCK_TRACKING_FULL", "keep"), POLICIES),
        fsync=_choice("LIFTLOCK_TRACKING_FSYNC", env.get("LIFTLOCK_TRACKING_FSYNC", "group"), FSYNC),
        registry=_choice("LIFTLOCK_TRACKING_REGISTRY", env.get("LIFTLOCK_TRACKING_REGISTRY", "wait"), REGISTRY),
    )


def spool_root() -> Path:
    """The folder of all spools of this user; nothing is created here."""
    if given := os.environ.get("LIFTLOCK_TRACKING_SPOOL"):
        return Path(given)
    state = os.environ.get("XDG_STATE_HOME")
    home = os.environ.get("HOME")
    if state or home:
        base = Path(state) if state else Path(str(home)) / ".local" / "state"
        return base / "liftlock-tracking"
    return Path(tempfile.gettempdir()) / f"liftlock-tracking-{os.getuid()}"


def place(uri: str) -> str:
    """A folder name for one server: readable, unique, without credentials."""
    bare = re.sub(r"//[^/@]*@", "//", uri)
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", bare.split("://", 1)[-1])[:60].strip("-")
    return f"{readable}-{hashlib.sha256(uri.encode()).hexdigest()[:8]}"


def _number(name: str, default: float) -> float:
    raw = os.environ.get(name)
    if not raw:
        return default
    try:
        value = float(raw)
    except ValueError:
        raise SettingsError(f"{name} must be a number, not {raw!r}") from None
    if not 0 <= value < 1e12:
        raise SettingsError(f"{name} must not be negative or infinite, not {raw!r}")
    return value


def _choice(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


class Switches:
    """The two switches, from the environment or (first) from the file LIFTLOCK_TRACKING_ENV_FILE names.

    The file is looked at again at most once a second, so editing a `.env` turns tracking off or on in a
    running process. Without that variable no file is ever opened.
    """

    def __init__(self) -> None:
        self._looked = -10.0
        self._stamp: tuple[int, int] | None = None
        self._file: dict[str, str] = {}

    def tracking(self) -> bool:
        """Whether calls go anywhere. Unset means yes: a `liftlock+` URI is configuration enough."""
        return self._value(ENABLE_TRACKING)

    def tracing(self) -> bool:
        """Whether traces go anywhere; never without tracking."""
        return self._value(ENABLE_TRACING) and self.tracking()

    def _value(self, name: str) -> bool:
        if ENV_FILE in os.environ:
            self._look()
            if name in self._file:
                return self._file[name] not in _FALSE
        raw = os.environ.get(name)
        return raw is None or raw.strip().lower() not in _FALSE

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < 1.0:
            return
        self._looked = now
        path = os.environ[ENV_FILE]
        try:
            stat = os.stat(path)
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp != self._stamp:
                with open(path, encoding="utf-8", errors="replace") as file:
                    self._file = parse_env(file.read())
                self._stamp = stamp
        except OSError:
            self._file, self._stamp = {}, None


def parse_env(text: str) -> dict[str, str]:
    """The `NAME=value` lines of a .env file, values lowered and unquoted; anything else is passed over."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.strip().removeprefix("export ").partition("=")
        if sign and not name.startswith("#"):
            values[name.strip()] = value.split(" #")[0].strip().strip("'\"").lower()
    return values


SWITCHES = Switches()
