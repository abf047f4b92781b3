"""`releases measure`: real clients against real servers, every pair once, kept as it is done.

Each release gets an environment of its own; a server runs on a scratch SQLite database while all clients have their
round with it. A run that is cut off goes on with the next pair.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import urllib3

from liftlock import clock, files, proc
from liftlock.effects import side_effect
from liftlock.errors import LiftlockError, ReleaseError
from liftlock.knowledge.compatibility import FORMAT, Deviation, Result, Round, Table, Unmeasured
from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.releases.children import clean_environment
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.proof import free_port
from liftlock.releases.worker import INSIDE, Worker

CLIENTS = ("1.30.1", "2.0.1", "2.9.2", "2.14.3", "2.22.5", "3.0.1", "3.4.0", "3.10.1")
SERVERS = ("2.9.2", "2.22.5", "3.4.0", "3.10.1")
_PYTHON = "3.11"
_START, _ROUND = 180.0, 300.0
# Ids of runs, traces and models, made by chance.
_NAMES = re.compile(r"(?:\b(?:tr|m|round)-)?[0-9a-f]{32}\b")


class _Kept(Value, frozen=True):
    """One measured pair as it lies in the cache: the names of all operations, and the round."""

    operations: tuple[str, ...]
    round: Round


class Measurer:
    """Measures pairs. Results lie in `root/compatibility`; a change of the round's script makes them void."""

    def __init__(self, environments: Environments, observer: Observer = silent) -> None:
        self._environments = environments
        self._observer = observer
        script = hashlib.sha256((INSIDE / "round.py").read_bytes()).hexdigest()[:10]
        self._directory = environments.root / "compatibility" / script

    def measure(self, clients: Sequence[Release], servers: Sequence[Release]) -> Table:
        """Every client with every server. A release that cannot be built or started is in `unmeasured`, with why."""
        with side_effect("make compatibility cache"):
            files.private_directory(self._directory)
        kept: dict[tuple[str, str], _Kept] = {}
        failed: dict[tuple[str, str], str] = {}
        for server in servers:
            todo = []
            for client in clients:
                known = self._known(client, server)
                if known is None:
                    todo.append(client)
                else:
                    kept[client.version, server.version] = known
            if todo:
                self._with_server(server, todo, kept, failed, (len(clients), len(servers)))
        operations = next((each.operations for each in kept.values()), ())
        return Table(
            format=FORMAT, made=clock.now().strftime("%Y-%m-%d"), store="sqlite", operations=operations,
            rounds=tuple(each.round for _, each in sorted(kept.items(), key=_order)),
            unmeasured=tuple(
                Unmeasured(client=Release(version=client), server=Release(version=server), reason=reason)
                for (client, server), reason in sorted(failed.items(), key=_order)
            ),
        )  # fmt: skip

    def _with_server(
        self, server: Release, clients: Sequence[Release], kept: dict[tuple[str, str], _Kept],
        failed: dict[tuple[str, str], str], size: tuple[int, int],
    ) -> None:  # fmt: skip
        try:
            environment = self._build(server)
            with (
                tempfile.TemporaryDirectory(prefix="liftlock-compatibility-") as scratch,
                _serving(environment, Path(scratch)) as url,
            ):
                for client in clients:
                    pair = (client.version, server.version)
                    work = f"MLflow {client} client with {server} server"
                    self._observer(Progress(work=work, done=len(kept) + len(failed), total=size[0] * size[1]))
                    try:
                        kept[pair] = self._round(client, environment, url)
                    except LiftlockError as error:
                        failed[pair] = error.message[:300]
        except LiftlockError as error:
            for client in clients:
                if (client.version, server.version) not in kept:
                    failed[client.version, server.version] = f"server: {error.message[:300]}"

    def _round(self, client: Release, server: Environment, url: str) -> _Kept:
        environment = self._build(client)
        variables = {
            "MLFLOW_TRACKING_URI": url, "MLFLOW_REGISTRY_URI": url, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "30", "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
            "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
            # 1.x imports what setuptools replaced, through distutils of the standard library
            "SETUPTOOLS_USE_DISTUTILS": "stdlib",
        }  # fmt: skip
        with (
            side_effect("compatibility round"),
            Worker(environment.python, f"MLflow {client}", env=variables) as worker,
        ):
            operations = worker.call("round", "run_round", {}, timeout=_ROUND)["operations"]
        done = _Kept(
            operations=tuple(name for name, *_ in operations),
            round=Round(
                client=client, server=server.release, day=clock.now().strftime("%Y-%m-%d"),
                client_python=environment.python_version, server_python=server.python_version,
                deviations=tuple(
                    Deviation(operation=name, result=Result(result), message=_plain(message, url))
                    for name, result, _, message in operations if result != Result.OK
                ),
            ),
        )  # fmt: skip
        with side_effect("keep compatibility round"):
            files.write_atomic(self._place(client, server.release), to_json(done, indent=1))
        return done

    def _build(self, release: Release) -> Environment:
        return self._environments.build(release, python=_PYTHON, start=False, observer=self._observer)

    def _place(self, client: Release, server: Release) -> Path:
        return self._directory / f"{client}-with-{server}.json"

    def _known(self, client: Release, server: Release) -> _Kept | None:
        try:
            return from_json(self._place(client, server).read_bytes(), _Kept)
        except (FileNotFoundError, ValueError):
            return None  # not measured yet, or written by another version: measured now


@contextmanager
def _serving(environment: Environment, directory: Path) -> Iterator[str]:
    """A scratch server with proxied artifacts; its URL. Its whole process group is ended with the context."""
    port = free_port()
    words: list[str | Path] = [
        environment.python, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{directory / 'mlflow.db'}",
        "--artifacts-destination", directory / "artifacts",
    ]  # fmt: skip
    variables = clean_environment({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"})
    variables["PATH"] = f"{environment.python.parent}{os.pathsep}{variables.get('PATH', '')}"
    log = directory / "server.log"
    with side_effect("start scratch server"), log.open("wb") as output:
        child = proc.spawn(words, env=variables, cwd=directory, stdout=output)
    try:
        deadline = clock.monotonic() + _START
        while not _healthy(port):
            if child.poll() is not None or clock.monotonic() > deadline:
                said = proc.last_line(log.read_text(encoding="utf-8", errors="replace"))
                raise ReleaseError(f"the server of MLflow {environment.release} does not start: {said[:200]}")
            clock.sleep(0.3)
        yield f"http://127.0.0.1:{port}"
    finally:
        with side_effect("stop scratch server"):
            proc.kill_group(child.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):  # the kill below ends it and what it left behind
                child.wait(10)
            proc.kill_group(child.pid)
            child.wait()


def _healthy(port: int) -> bool:
    try:
        return urllib3.request("GET", f"http://127.0.0.1:{port}/health", timeout=2.0, retries=False).status == 200
    except urllib3.exceptions.HTTPError:
        return False


def _plain(message: str, url: str) -> str:
    """The message without what is different in every run."""
    same = _NAMES.sub("ID", message).replace(url, "http://server")
    return re.sub(rf"\b{url.rpartition(':')[2]}\b", "PORT", same)


def _order(entry: tuple[tuple[str, str], object]) -> tuple[object, object]:
    client, server = entry[0]
    return Release(version=server).key, Release(version=client).key
