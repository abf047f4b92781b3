"""A server as a person starts it: the stand-in with an installed-package look, and one real release."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from liftlock.clock import monotonic, sleep
from liftlock.describe import config, draft, launch, observe, process
from liftlock.errors import Refused, ServerError
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import StoreUri
from liftlock.runtimes import process_health, process_tree
from liftlock.runtimes.process import ProcessRuntime
from tests.support.releases import environment
from tests.support.servers import free_port, stub


@pytest.mark.parametrize(
    ("cmdline", "words"),
    [
        (["/v/bin/python", "/v/bin/mlflow", "server", "--port", "1"], ("--port", "1")),
        (["/v/bin/python3.11", "-m", "mlflow", "server"], ()),
        (["/v/bin/python", "/v/bin/mlflow", "ui", "-p", "1"], ("-p", "1")),
        (["/v/bin/python", "/v/bin/mlflow", "--env-file", "x", "server", "-p", "1"], ("-p", "1")),
        (["mlflow", "server"], ()),
        (["/v/bin/python", "/v/bin/mlflow", "gc"], None),
        (["/v/bin/python", "-m", "gunicorn", "-b", "h:1", "mlflow.server:app"], None),
        (["vim", "notes", "mlflow", "server"], None),
        (["grep", "-r", "mlflow server"], None),
        (["bash"], None),
        ([], None),
    ],
)
def test_which_command_lines_are_servers(cmdline: list[str], words: tuple[str, ...] | None) -> None:
    assert process.server_words(cmdline) == words


@contextmanager
def person_starts(directory: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """The stand-in server with metadata of an installed mlflow, so that it can be asked for its release."""
    stub(directory / "site")
    info = directory / "site" / "mlflow-2.9.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow\nVersion: 2.9.2\n")
    ini = directory / "site" / "mlflow" / "server" / "auth" / "basic_auth.ini"
    ini.parent.mkdir(parents=True)
    ini.write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\ndatabase_uri = sqlite:///basic_auth.db\n"
        "admin_username = admin\nadmin_password = adm%%in-canary\n"
    )
    work = directory / "work"
    work.mkdir()
    port = free_port()
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(directory / "site"), "MLFLOW_WORKERS": "3", **variables}
    argv = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), *words]
    with subprocess.Popen(argv, cwd=work, env=env, stdout=subprocess.DEVNULL, start_new_session=True) as child:
        deadline = monotonic() + 15
        while not process_health.healthy("127.0.0.1", port):
            assert child.poll() is None
            assert monotonic() < deadline
            sleep(0.05)
        try:
            yield child
        finally:
            for member in [*psutil.Process(child.pid).children(recursive=True), child]:
                member.kill()


def test_inspect_draft_and_observe(tmp_path: Path) -> None:
    uri = "postgresql+psycopg2://ml:db%2Fcanary@127.0.0.1:5433/mlflow"
    words = ("--backend-store-uri", uri, "--app-name", "basic-auth", "--artifacts-destination", "store")
    with person_starts(tmp_path, *words, AWS_SECRET_ACCESS_KEY="aws-canary", EDITOR="vi") as child:
        worker = psutil.Process(child.pid).children()[0].pid
        seen = process.inspect(worker)
        assert seen.handle.pid == child.pid
        assert child.pid in process.find_servers()
        assert worker not in process.find_servers()
        assert process.find_on_port(seen.port) == seen.handle
        assert process.find_on_port(free_port()) is None
        assert seen.release == Release(version="2.9.2")
        assert seen.python == Path(sys.executable)
        assert seen.workers == 3
        assert seen.stores[Role.TRACKING].database == "mlflow"
        assert seen.stores[Role.AUTH].path == tmp_path / "work" / "basic_auth.db"
        assert [root.local_path for root in seen.artifacts] == [str(tmp_path / "work" / "store")]
        assert "EDITOR" not in seen.environment
        assert "/version" in seen.sources["release"]
        assert "canary" not in repr(seen) + str(seen.sources)

        made = draft.to_config(seen, tmp_path / "liftlock.toml", public_names=("mlflow.example.com",))
        made.write()
        written = (tmp_path / "liftlock.toml").read_text()
        assert "canary" not in written
        loaded = config.load(tmp_path / "liftlock.toml")
        assert loaded.store_uri(Role.TRACKING).reveal() == uri
        assert loaded.environment()["AWS_SECRET_ACCESS_KEY"] == "aws-canary"
        login = loaded.credentials()
        assert login is not None
        assert login[1].reveal() == "adm%in-canary"
        ini = Path(loaded.environment()["MLFLOW_AUTH_CONFIG_PATH"])
        assert "NO_PERMISSIONS" in ini.read_text()
        assert ini.stat().st_mode & 0o777 == 0o600

        running = observe.observe(loaded, stores={}, handle=seen.handle)
        stopped = observe.observe(loaded, stores={}, handle=None)
        assert running.digest == stopped.digest
        assert running.server.pid == child.pid

        text = written.replace(":5433/mlflow", ":5433/other")
        with pytest.raises(
            Refused, match=r"tracking store: the server uses .*/mlflow, the file says .*/other"
        ) as caught:
            observe.observe(config.loads(text, loaded.path), stores={}, handle=seen.handle)
        assert "canary" not in caught.value.message


def test_a_server_that_answers_another_release_stops_everything(tmp_path: Path) -> None:
    with person_starts(tmp_path, STUB_VERSION="2.10.0") as child, pytest.raises(Refused, match=r"as MLflow 2\.10\.0"):
        process.inspect(child.pid)


def test_defaults_of_an_old_release(tmp_path: Path) -> None:
    with person_starts(tmp_path, "--no-serve-artifacts") as child:
        seen = process.inspect(child.pid)
    assert seen.stores[Role.TRACKING].path == tmp_path / "work" / "mlruns"
    assert [(root.local_path, root.proxied) for root in seen.artifacts] == [(str(tmp_path / "work" / "mlruns"), False)]
    assert seen.sources["stores.tracking"] == "default of MLflow"


def test_no_server_at_this_pid() -> None:
    with pytest.raises(ServerError, match="is not an `mlflow server`"):
        process.inspect(os.getpid())
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with pytest.raises(ServerError, match=f"no process {gone.pid}"):
        process.inspect(gone.pid)


@pytest.mark.release
def test_a_real_server_is_described_stopped_and_started_again(tmp_path: Path) -> None:
    python = environment("2.9.2").python
    port = free_port()
    (tmp_path / "srv").mkdir()
    argv = [str(python.parent / "mlflow"), "server", "--backend-store-uri=sqlite:///mlflow.db", f"-p{port}", "-w", "2"]
    with (tmp_path / "log").open("wb") as log:
        child = subprocess.Popen(argv, cwd=tmp_path / "srv", stdout=log, stderr=log, start_new_session=True)
    runtime = ProcessRuntime(tmp_path / ".liftlock")
    try:
        deadline = monotonic() + 90
        while not process_health.healthy("127.0.0.1", port):
            assert child.poll() is None
            assert monotonic() < deadline
            sleep(0.2)
        seen = process.inspect(child.pid)
        assert seen.release == Release(version="2.9.2")
        assert seen.stores[Role.TRACKING].same_place(StoreUri.parse(f"sqlite:///{tmp_path}/srv/mlflow.db"))
        made = draft.to_config(seen, tmp_path / "liftlock.toml")
        made.write()
    finally:
        handle = process_tree.handle_of(child.pid)
        assert handle is not None
        runtime.stop(handle)
        child.wait(10)
    handle = runtime.start(launch.server_spec(made.config, python=python, release=seen.release), timeout=90)
    try:
        assert observe.observe(made.config, stores={}, handle=handle).server.release == seen.release
    finally:
        runtime.stop(handle)
