"""People at work: real clients of a release that write all the time, and a ledger of what each was told is done.

The ledger is the clients' own, written beside every call, so it does not depend on liftlock's idea of what happened.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from liftlock import clock, proc
from liftlock.errors import LiftlockError
from liftlock.files import private_directory
from liftlock.model.codec import Value
from liftlock.model.secret import Secret
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environment
from liftlock.releases.worker import INSIDE
from liftlock.stores.interface import Store
from liftlock.verify.http import Client

_START, _END = 120.0, 60.0


class Outcome(Value, frozen=True):
    """What became of all writes of a load. `longest` is the longest any acknowledged write took, in seconds.

    `lost` and `doubled` list acknowledged writes that are not there, or there twice; `failed` the calls that failed.
    """

    clients: int
    acknowledged: int
    failed: tuple[str, ...]
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    longest: float


@dataclass
class Load:
    """Running clients. `directory` holds a ledger and a log for each."""

    directory: Path
    names: Sequence[str]
    children: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def written(self) -> int:
        """Acknowledged writes so far."""
        return sum(1 for name in self.names for line in _lines(self.directory / f"{name}.jsonl") if "ok" in line)

    def await_writes(self, more: int, *, timeout: float = _START) -> None:
        """Wait until this many further writes were acknowledged. Raises LiftlockError when they are not."""
        goal, deadline = self.written() + more, clock.monotonic() + timeout
        while self.written() < goal:
            dead = [child for child in self.children if child.poll() not in (None, 0)]
            if dead or clock.monotonic() > deadline:
                logs = " ".join((self.directory / f"{name}.log").read_text("utf-8")[-500:] for name in self.names)
                raise LiftlockError(f"the clients do not write: {proc.last_line(logs)}")
            clock.sleep(0.1)

    def stop(self) -> None:
        """Let every client end its run, then wait for it."""
        (self.directory / "stop").touch()
        deadline = clock.monotonic() + _END
        for child in self.children:
            try:
                child.wait(max(0.1, deadline - clock.monotonic()))
            except subprocess.TimeoutExpired:
                proc.kill_group(child.pid)
                child.wait()


@contextmanager
def writing(
    environment: Environment, url: str, directory: Path, *, clients: int = 4, pause: float = 0.02,
    artifacts: bool = True, traces: bool = False, login: tuple[str, Secret] | None = None,
) -> Iterator[Load]:  # fmt: skip
    """Clients that write to the server at `url` for the length of the block, each in a process of its own.

    `traces` needs a release that has them (3.0 and later), and has them written at once instead of in the background.
    """
    private_directory(directory)
    load = Load(directory, [f"client{number}" for number in range(clients)])
    given = {"MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    if traces:
        given["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
    if login is not None:
        given |= {"MLFLOW_TRACKING_USERNAME": login[0], "MLFLOW_TRACKING_PASSWORD": login[1].reveal()}
    try:
        for name in load.names:
            kinds = {"artifacts": artifacts, "traces": traces}
            load.children.append(_spawn(environment, clean_environment(given), directory, name, pause, kinds))
        yield load
    finally:
        load.stop()


def _spawn(
    environment: Environment,
    given: Mapping[str, str],
    directory: Path,
    name: str,
    pause: float,
    kinds: Mapping[str, bool],
) -> subprocess.Popen[bytes]:
    said = {
        "name": name, "ledger": str(directory / f"{name}.jsonl"), "stop": str(directory / "stop"),
        "pause": pause, **kinds,
    }  # fmt: skip
    with (directory / f"{name}.log").open("ab") as log:
        child = proc.spawn(
            [environment.python, INSIDE / "load.py"], env=given, cwd=directory, stdin=subprocess.PIPE, stdout=log
        )
    assert child.stdin is not None
    child.stdin.write(json.dumps(said).encode())
    child.stdin.close()
    return child


def judge(load: Load, store: Store, client: Client) -> Outcome:
    """Look for every acknowledged write in the database that serves now, and for artifacts through its server."""
    acknowledged: list[tuple[str, dict[str, Any]]] = []
    failed: list[str] = []
    longest = 0.0
    for name in load.names:
        begun: dict[int, dict[str, Any]] = {}
        for line in _lines(load.directory / f"{name}.jsonl"):
            if "kind" in line:
                begun[line["n"]] = line
            elif "failed" in line:
                failed.append(f"{name} {begun[line['n']]['kind']}: {line['failed']}")
            else:
                acknowledged.append((begun[line["n"]]["kind"], begun[line["n"]]["what"]))
                longest = max(longest, float(line["seconds"]))
    found = _found(store)
    lost, doubled = [], []
    for kind, what in acknowledged:
        count = _count(kind, what, found, client)
        if count == 0:
            lost.append(f"{kind} {what}")
        elif count > 1:
            doubled.append(f"{kind} {what}")
    return Outcome(
        clients=len(load.names),
        acknowledged=len(acknowledged),
        failed=tuple(failed),
        lost=tuple(lost),
        doubled=tuple(doubled),
        longest=round(longest, 3),
    )


def _found(store: Store) -> dict[str, Counter[Any]]:
    """Everything of a load in the database, counted."""

    def count(query: str) -> Counter[Any]:
        return Counter(tuple(row.values()) for row in store.rows(query))

    traces = "SELECT value FROM trace_tags WHERE key = 'load.mark'"
    return {
        "trace": count(traces) if "trace_tags" in store.columns() else Counter(),
        "experiment": count("SELECT name FROM experiments WHERE name LIKE 'load-%'"),
        "model": count("SELECT name FROM registered_models WHERE name LIKE 'load-%'"),
        "run": count("SELECT value FROM tags WHERE key = 'load.mark'"),
        "param": count("SELECT run_uuid, key, value FROM params"),
        "metric": count("SELECT run_uuid, key, value, step, timestamp FROM metrics"),
        "tag": count("SELECT run_uuid, key, value FROM tags WHERE key = 'note'"),
        "version": count("SELECT name, value FROM model_version_tags WHERE key = 'load.mark'"),
        "end": count("SELECT run_uuid, status FROM runs"),
    }


def _count(kind: str, what: Mapping[str, Any], found: Mapping[str, Counter[Any]], client: Client) -> int:
    if kind == "artifact":
        status, body = client.get(f"/get-artifact?path={quote(what['path'])}&run_uuid={what['run']}")
        return int(status == 200 and body.decode() == what["text"])
    keys = {
        "experiment": ("name",), "model": ("name",), "run": ("mark",), "param": ("run", "key", "value"),
        "metric": ("run", "key", "value", "step", "timestamp"), "tag": ("run", "key", "value"), "trace": ("mark",),
        "version": ("name", "mark"), "end": ("run", "status"),
    }[kind]  # fmt: skip
    return found[kind][tuple(what[key] for key in keys)]


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a ledger; a last one that is cut off was never acknowledged."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
