"""Every link between the application and the server, tested one by one; each broken one with its reason and fix.

Needs no MLflow for most of it, so that it also helps where MLflow itself does not import.
"""

from __future__ import annotations

import base64
import importlib.metadata
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional
from urllib.parse import urlsplit

from liftlock_tracking import settings
from liftlock_tracking.settings import ENABLE_TRACKING, ENV_FILE, PREFIX, SWITCHES, SettingsError

ISOLATED_SECONDS = 120
Result = tuple[str, Optional[bool], str, str]

_ISOLATED = """
import os, sys, threading, time
before = set(os.listdir("."))
import mlflow
began = time.perf_counter()
with mlflow.start_run() as run:
    mlflow.log_metric("a", 1.0); mlflow.log_param("b", "c"); mlflow.log_text("d", "e.txt")
took = time.perf_counter() - began
ours = [t.name for t in threading.enumerate() if t.name.startswith("liftlock")]
assert not ours, f"threads {ours}"
assert set(os.listdir(".")) == before, f"files {set(os.listdir('.')) - before}"
assert not os.path.exists(os.environ["LIFTLOCK_TRACKING_SPOOL"]), "a spool"
print(f"{took * 1000:.0f}")
"""


def examine() -> Iterator[Result]:
    """The checks in order: name, good (None: not checked), what was seen, what to do."""
    yield _plugin()
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    yield _uri(uri)
    yield _env_file()
    yield (
        "switches",
        None,
        f"tracking {'on' if SWITCHES.tracking() else 'off'}, tracing {'on' if SWITCHES.tracing() else 'off'}",
        "",
    )
    try:
        ours = settings.load(uri or settings.OFF_URI)
        yield (
            "settings",
            True,
            f"call bound {ours.call_bound * 1000:.0f} ms, read bound {ours.read_bound:g} s, cap {ours.cap >> 20} MB",
            "",
        )
    except SettingsError as problem:
        yield "settings", False, str(problem), "correct or unset that variable"
        return
    yield _spool()
    yield _isolation()
    plain = uri[len(PREFIX) :] if uri.startswith(PREFIX) else uri
    if not plain.startswith("http"):
        yield "server", None, "no http(s) server is configured", ""
        return
    yield from _server(plain.rstrip("/"))


def _plugin() -> Result:
    try:
        points: Any = importlib.metadata.entry_points()
        group = (
            points.select(group="mlflow.tracking_store")
            if hasattr(points, "select")
            else points.get("mlflow.tracking_store", [])
        )
        names = sorted({p.name for p in group if p.name.startswith(PREFIX)})
    except (ImportError, OSError, ValueError, KeyError, AttributeError) as problem:
        # What a damaged environment makes of reading its own metadata.
        return "plugin", False, str(problem), "reinstall liftlock-tracking in the application's environment"
    if not names:
        return "plugin", False, "MLflow does not find it", "install liftlock-tracking in the same environment as mlflow"
    try:
        version = importlib.metadata.version("mlflow")
    except importlib.metadata.PackageNotFoundError:
        try:
            version = importlib.metadata.version("mlflow-skinny") + " (skinny)"
        except importlib.metadata.PackageNotFoundError:
            return "plugin", False, "neither mlflow nor mlflow-skinny is installed here", "install one of them"
    return "plugin", True, f"found by mlflow {version}", ""


def _uri(uri: str) -> Result:
    if not uri:
        return "MLFLOW_TRACKING_URI", None, "not set: phase 0, everything goes nowhere", ""
    if uri.startswith(PREFIX):
        return "MLFLOW_TRACKING_URI", True, _bare(uri), ""
    if uri.startswith(("http://", "https://")):
        return "MLFLOW_TRACKING_URI", False, f"{_bare(uri)} goes past the plugin", f"set it to {PREFIX}{_bare(uri)}"
    return "MLFLOW_TRACKING_URI", None, f"{_bare(uri)}: not a server", ""


def _env_file() -> Result:
    path = os.environ.get(ENV_FILE)
    if not path:
        return ".env", None, f"{ENV_FILE} is not set: switches are read from the environment only", ""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as problem:
        return ".env", False, str(problem), f"correct {ENV_FILE}"
    for number, line in enumerate(lines, 1):
        name, sign, value = line.partition("=")
        if (
            line.strip()
            and not line.lstrip().startswith("#")
            and (not sign or name != name.rstrip() or value != value.lstrip())
        ):
            return ".env", False, f"{path}, line {number}: spaces around = or no = at all", "write NAME=value"
    return ".env", True, f"{path}, {len(lines)} lines", ""


def _spool() -> Result:
    root = settings.spool_root()
    place = root
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        return (
            "spool",
            False,
            f"{root} cannot be written",
            "set LIFTLOCK_TRACKING_SPOOL to a folder this user may write",
        )
    free = shutil.disk_usage(place).free
    if free < 100 << 20:
        return (
            "spool",
            False,
            f"only {free >> 20} MB free at {root}",
            "make room or set LIFTLOCK_TRACKING_SPOOL elsewhere",
        )
    if root.exists() and root.stat().st_mode & 0o077:
        return "spool", False, f"{root} can be read by others", f"chmod 700 {root}"
    return "spool", True, f"{root}, {free >> 20} MB free", ""


def _isolation() -> Result:
    """A child with tracking off must behave as if MLflow were not there."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, ENABLE_TRACKING: "false", "LIFTLOCK_TRACKING_SPOOL": f"{folder}/spool-must-not-appear"}
        env.pop(ENV_FILE, None)
        try:
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _ISOLATED],
                cwd=folder,
                env=env,
                capture_output=True,
                text=True,
                timeout=ISOLATED_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return (
                "isolation",
                False,
                f"with tracking off the test did not end within {ISOLATED_SECONDS} s",
                "run it by hand with MLFLOW_ENABLE_TRACKING=false",
            )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return "isolation", False, f"with tracking off: {last}", "MLflow itself does not work here; see the line above"
    return (
        "isolation",
        True,
        f"with tracking off: no thread, no file, {done.stdout.strip().splitlines()[-1]} ms for a whole run",
        "",
    )


def _server(uri: str) -> Iterator[Result]:
    parts = urlsplit(uri)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.getaddrinfo(host, port)
    except OSError as problem:
        yield "name", False, f"{host}: {problem}", "correct the host name in MLFLOW_TRACKING_URI, or the name service"
        return
    yield "name", True, host, ""
    began = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as problem:
        yield (
            "connection",
            False,
            f"{host}:{port}: {problem}",
            "start the server, or open the way to it; calls are kept meanwhile",
        )
        return
    yield "connection", True, f"{host}:{port} in {(time.monotonic() - began) * 1000:.0f} ms", ""
    status, text = _get(f"{uri}/version")
    yield "release", status == 200 or None, text if status == 200 else f"/version says {status} {text}", ""
    status, text = _get(f"{uri}/api/2.0/mlflow/experiments/get?experiment_id=0")
    fixes = {
        0: "see the reason; TLS settings are MLFLOW_TRACKING_SERVER_CERT_PATH and MLFLOW_TRACKING_INSECURE_TLS",
        401: "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN",
        403: "the server refuses this host name or user: start it with --allowed-hosts, or grant the permission",
        404: "the path in MLFLOW_TRACKING_URI is not where MLflow lives (a prefix such as /mlflow is missing or too much)",
    }
    fine = status == 200 or (status == 404 and "RESOURCE_DOES_NOT_EXIST" in text)
    yield (
        "API",
        fine,
        f"answers {status}" if fine else f"{status or 'no answer'}: {text[:200]}",
        fixes.get(status, "look at the server's log"),
    )


def _get(url: str) -> tuple[int, str]:
    request = urllib.request.Request(url)
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        request.add_header("Authorization", f"Bearer {token}")
    elif user and password:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode())
    context = None
    if url.startswith("https"):
        context = ssl.create_default_context(cafile=os.environ.get("MLFLOW_TRACKING_SERVER_CERT_PATH") or None)
        if os.environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").lower() == "true":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.read(2000).decode(errors="replace").strip()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read(2000).decode(errors="replace").strip()
    except (OSError, ValueError) as problem:
        return 0, str(problem)


def _bare(uri: str) -> str:
    parts = urlsplit(uri)
    return uri if "@" not in parts.netloc else uri.replace(parts.netloc, parts.netloc.rpartition("@")[2])
