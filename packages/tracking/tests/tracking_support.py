"""Support for the plugin's tests: an overlay that installs the plugin beside a release, a proxy with faults, a ledger."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import tomllib

PACKAGE = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("worker.py")


def overlay(folder: Path) -> Path:
    """A folder for PYTHONPATH that makes the plugin's entry points known without touching the release's environment."""
    meta = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    info = folder / "overlay" / "liftlock_tracking-0.1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: liftlock-tracking\nVersion: 0.1.0\n")
    lines: list[str] = []
    for group, points in meta["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return info.parent


def variables(folder: Path, uri: str | None, **more: str) -> dict[str, str]:
    """The environment of an application that uses the plugin with its spool in `folder`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "LIFTLOCK_", "PYTHON"))}
    env = {
        **kept,
        "PYTHONPATH": f"{overlay(folder)}{os.pathsep}{PACKAGE / 'src'}",
        "PYTHONWARNINGS": "ignore",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LIFTLOCK_TRACKING_SPOOL": str(folder / "spool"),
        "GIT_PYTHON_REFRESH": "quiet",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if uri:
        env["MLFLOW_TRACKING_URI"] = uri
    return {**env, **more}


def run(
    python: Path, arguments: list[str], env: dict[str, str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run an application to its end."""
    return subprocess.run([str(python), *arguments], env=env, cwd=cwd, capture_output=True, text=True, timeout=timeout)


def command(
    python: Path, words: list[str], env: dict[str, str], cwd: Path, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `liftlock-tracking`."""
    return run(python, ["-m", "liftlock_tracking.cli", *words], env, cwd, timeout)


class Proxy:
    """A TCP proxy in front of a server whose `mode` is a fault, decided anew for every request.

    pass; 503; hang (takes the request, never answers); cut (drops it unsent); cut-after (the server does the
    work, the answer is thrown away); refuse (nobody listens).
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._mode = "pass"
        self._listener: socket.socket | None = None
        self.port = 0
        self.requests: Counter[str] = Counter()
        self._live: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._open()

    @property
    def mode(self) -> str:
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode == "refuse":
            self._mode = mode
            self._shut()
        else:
            self._mode = mode
            if self._listener is None:
                self._open()

    def _open(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _shut(self) -> None:
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        self.drop()

    def drop(self) -> None:
        """Cut every connection."""
        with self._lock:
            live, self._live = self._live, set()
        for each in live:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def close(self) -> None:
        """Stop."""
        self._mode = "refuse"
        self._shut()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._live.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            upstream: socket.socket | None = None
            try:
                while request := _message(client):
                    mode = self._mode
                    self.requests[mode] += 1
                    if mode in ("cut", "refuse"):
                        return
                    if mode == "503":
                        client.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
                        continue
                    if mode == "hang":
                        while self._mode == "hang":
                            time.sleep(0.02)
                        return
                    upstream = upstream or socket.create_connection(("127.0.0.1", self.target), timeout=60)
                    upstream.sendall(request)
                    answer = _message(upstream, answer=True)
                    if mode == "cut-after" or self._mode in ("cut-after", "refuse"):
                        return
                    if not answer:
                        return
                    client.sendall(answer)
            finally:
                if upstream is not None:
                    upstream.close()
                with self._lock:
                    self._live.discard(client)


def _message(sock: socket.socket, *, answer: bool = False) -> bytes:
    """One whole HTTP message (Content-Length or chunked)."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        if not part:
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    fields = {k.strip().lower(): v.strip() for k, _, v in (line.partition(b":") for line in head.split(b"\r\n")[1:])}
    if b"chunked" in fields.get(b"transfer-encoding", b""):
        while not body.endswith(b"0\r\n\r\n"):
            part = sock.recv(65536)
            if not part:
                return b""
            body += part
    else:
        length = int(fields.get(b"content-length", b"0"))
        while len(body) < length:
            part = sock.recv(65536)
            if not part:
                return b""
            body += part
    return head + b"\r\n\r\n" + body


@contextmanager
def proxied(url: str) -> Iterator[Proxy]:
    """A proxy in front of a server's URL."""
    proxy = Proxy(int(url.rsplit(":", 1)[1]))
    try:
        yield proxy
    finally:
        proxy.close()


class Troubles:
    """Changes a proxy's mode on and on, in a thread, until left; the server is well again afterwards."""

    def __init__(self, proxy: Proxy, modes: list[str], every: float) -> None:
        self._proxy, self._modes, self._every = proxy, modes, every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go, daemon=True)

    def _go(self) -> None:
        at = 0
        while not self._stop.is_set():
            mode = self._modes[at % len(self._modes)]
            before = self._proxy.requests[mode]
            self._proxy.mode = mode
            at += 1
            self._stop.wait(self._every)
            # The breaker may be pausing: let the mode last until somebody met it.
            for _ in range(30):
                if mode == "refuse" or self._proxy.requests[mode] > before or self._stop.is_set():
                    break
                self._stop.wait(0.1)

    def __enter__(self) -> Troubles:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._proxy.mode = "pass"


def ledger(folder: Path) -> list[dict[str, Any]]:
    """What every worker wrote down: calls it began and calls it was told are done."""
    entries: list[dict[str, Any]] = []
    for path in sorted(folder.glob("ledger-*.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                entries.append(json.loads(line))
    return entries


def compare(database: Path, entries: list[dict[str, Any]], *, artifacts: Path | None = None) -> list[str]:
    """Differences between what applications were told and what the server's database holds; empty if none.

    Reads the database itself, with nothing of ours or of MLflow's in between.
    """
    done = [e for e in entries if e["state"] == "done"]
    begun = {e["id"]: e for e in entries if e["state"] == "begun"}
    for entry in done:
        begun.pop(entry["id"], None)
    said: list[str] = []
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        runs: dict[str, list[tuple[str, str, str]]] = {}
        for name, run_id, status in db.execute(
            "SELECT name, run_uuid, status FROM runs WHERE lifecycle_stage = 'active'"
        ):
            runs.setdefault(name, []).append((name, run_id, status))
        want_runs = {e["run"] for e in done if e["op"] == "start"}
        may_runs = {e["run"] for e in begun.values() if e["op"] == "start"}
        for name in want_runs:
            if len(runs.get(name, [])) != 1:
                said.append(f"run {name}: {len(runs.get(name, []))} times")
        for name in set(runs) - want_runs - may_runs:
            said.append(f"run {name}: nobody made it")
        ids = {found[0][1]: name for name, found in runs.items()}
        maybe = list(begun.values())
        said += _metrics(db, ids, done, maybe)
        said += _values(db, ids, done, maybe)
        for entry in done:
            if entry["op"] == "end" and runs.get(entry["run"], [("", "", "")])[0][2] != entry["status"]:
                said.append(f"run {entry['run']}: status {runs.get(entry['run'])}, not {entry['status']}")
        parents = dict(db.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.parentRunId'"))
        names = {name: run_id for run_id, name in ids.items()}
        for entry in done:
            if (
                entry["op"] == "start"
                and entry.get("parent")
                and parents.get(names.get(entry["run"], "")) != names.get(entry["parent"])
            ):
                said.append(f"run {entry['run']}: parent {parents.get(names.get(entry['run'], ''))}")
        if artifacts is not None:
            for entry in done:
                if entry["op"] == "artifact":
                    found = list(artifacts.glob(f"*/{names.get(entry['run'], 'none')}/artifacts/{entry['path']}"))
                    if len(found) != 1 or found[0].read_text() != entry["text"]:
                        said.append(f"artifact {entry['path']} of {entry['run']}: {found}")
    return said


def _metrics(
    db: sqlite3.Connection, ids: dict[str, str], done: list[dict[str, Any]], maybe: list[dict[str, Any]]
) -> list[str]:
    want = Counter((e["run"], k, v, s) for e in done if e["op"] == "metrics" for k, v, s in e["points"])
    may = {(e["run"], k, v, s) for e in maybe if e["op"] == "metrics" for k, v, s in e["points"]}
    have: Counter[tuple[str, str, float, int]] = Counter()
    for run_id, key, value, step in db.execute("SELECT run_uuid, key, value, step FROM metrics"):
        if run_id in ids and not key.startswith("system/"):
            have[(ids[run_id], key, value, step)] += 1
    lost = [f"metric lost: {item} {count}" for item, count in (want - have).items()]
    extra = [f"metric too much: {item} {count}" for item, count in (have - want).items() if item not in may]
    return lost + extra


def _values(
    db: sqlite3.Connection, ids: dict[str, str], done: list[dict[str, Any]], maybe: list[dict[str, Any]]
) -> list[str]:
    said = []
    names = {name: run_id for run_id, name in ids.items()}
    for table, op in (("params", "param"), ("tags", "tag")):
        want: dict[tuple[str, str], str | None] = {}
        for entry in done:
            if entry["op"] == op:
                want[(entry["run"], entry["key"])] = entry["value"]
        may = {(e["run"], e["key"]) for e in maybe if e["op"] == op}
        have = {(run, key): value for run, key, value in db.execute(f"SELECT run_uuid, key, value FROM {table}")}
        for (name, key), value in want.items():
            got = have.get((names.get(name, ""), key))
            if got != value and (name, key) not in may:
                said.append(f"{op} {key} of {name}: {got!r}, not {value!r}")
    return said
