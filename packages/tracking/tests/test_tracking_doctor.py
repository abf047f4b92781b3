"""`liftlock-tracking doctor`: every broken link is named with its reason and its fix."""

from __future__ import annotations

import http.server
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from served import Served
from tracking_support import command, overlay, variables

from liftlock_tracking import cli, doctor
from liftlock_tracking.settings import SWITCHES


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("MLFLOW_", "LIFTLOCK_TRACKING_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("LIFTLOCK_TRACKING_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr(SWITCHES, "_looked", -10.0)


def found(*, isolation: bool = False, plugin: bool = False) -> dict[str, tuple[bool | None, str, str]]:
    """What the doctor says by name. The isolated child is left out unless asked for: it is an interpreter of its own."""
    with pytest.MonkeyPatch.context() as patch:
        if not isolation:
            patch.setattr(doctor, "_isolation", lambda: ("isolation", None, "left out", ""))
        if not plugin:
            patch.setattr(doctor, "_plugin", lambda: ("plugin", None, "left out", ""))
        return {name: (good, said, fix) for name, good, said, fix in doctor.examine()}


def bad(name: str) -> tuple[str, str]:
    """What is wrong with this link, and the fix."""
    good, said, fix = found()[name]
    assert good is False and fix, (name, good, said)
    return said, fix


@contextmanager
def answering(status: int, body: str = "", version: str = "3.1.0") -> Iterator[str]:
    """A server that answers every API call alike."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = version if self.path.endswith("/version") else body
            self.send_response(200 if self.path.endswith("/version") else status)
            self.end_headers()
            self.wfile.write(said.encode())

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_plugin_that_mlflow_does_not_find() -> None:
    good, said, fix = found(plugin=True)["plugin"]
    assert good is False and said == "MLflow does not find it" and "same environment" in fix


def test_a_plugin_without_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(overlay(tmp_path)))
    good, said, fix = found(plugin=True)["plugin"]
    assert good is False and "neither mlflow nor mlflow-skinny" in said and fix == "install one of them"


def test_a_uri_that_goes_past_the_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    said, fix = bad("MLFLOW_TRACKING_URI")
    assert fix == "set it to liftlock+http://127.0.0.1:9" and "secret" not in said


@pytest.mark.parametrize("text", ["MLFLOW_ENABLE_TRACKING = false", "MLFLOW_ENABLE_TRACKING", "A= b"])
def test_an_env_file_that_a_shell_would_not_read(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"# a comment\n{text}\n")
    monkeypatch.setenv("LIFTLOCK_TRACKING_ENV_FILE", str(tmp_path / ".env"))
    said, fix = bad(".env")
    assert "line 2" in said and fix == "write NAME=value"


def test_an_env_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFTLOCK_TRACKING_ENV_FILE", str(tmp_path / "none"))
    assert bad(".env")[1] == "correct LIFTLOCK_TRACKING_ENV_FILE"


def test_an_env_file_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("MLFLOW_ENABLE_TRACKING=false\n")
    monkeypatch.setenv("LIFTLOCK_TRACKING_ENV_FILE", str(tmp_path / ".env"))
    shown = found()
    assert shown[".env"][0] is True and shown["switches"][1] == "tracking off, tracing off"


def test_a_setting_that_cannot_be_meant_ends_the_examination(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFTLOCK_TRACKING_CAP_MB", "much")
    assert "LIFTLOCK_TRACKING_CAP_MB" in bad("settings")[0] and "spool" not in found()


def test_a_spool_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, who may write everywhere
    assert "LIFTLOCK_TRACKING_SPOOL" in bad("spool")[1]


def test_a_spool_on_a_disk_that_is_nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    assert "only 5 MB free" in bad("spool")[0]


def test_a_spool_that_others_can_read(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o755)
    assert bad("spool")[1].startswith("chmod 700")


def test_isolation_where_mlflow_does_not_import() -> None:
    good, said, fix = found(isolation=True)["isolation"]
    assert good is False and "No module named 'mlflow'" in said and "MLflow itself does not work" in fix


def test_isolation_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ISOLATED_SECONDS", 0.01)
    good, said, _ = found(isolation=True)["isolation"]
    assert good is False and "did not end" in said


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "liftlock+http://nowhere.invalid:5000")
    said, fix = bad("name")
    assert "nowhere.invalid" in said and "correct the host name" in fix and "connection" not in found()


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"liftlock+http://127.0.0.1:{unheard.getsockname()[1]}")
        said, fix = bad("connection")
        assert "refused" in said and "start the server" in fix and "API" not in found()


@pytest.mark.parametrize(
    ("status", "body", "fix"),
    [(401, "who are you", "MLFLOW_TRACKING_USERNAME"), (403, "Invalid Host header", "--allowed-hosts"),
     (404, "<html>", "prefix"), (500, "oh", "server's log")],
)  # fmt: skip
def test_a_server_that_does_not_answer_as_it_should(
    status: int, body: str, fix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(status, body) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"liftlock+{url}")
        said, do = bad("API")
        assert said.startswith(f"{status}: {body}") and fix in do
        assert found()["release"][:2] == (True, "3.1.0")


def test_https_where_http_is_spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(200) as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"liftlock+{url.replace('http', 'https')}")
        said, fix = bad("API")
        assert said.startswith("no answer: ") and "TLS settings" in fix


def test_a_deleted_default_experiment_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering(404, '{"error_code": "RESOURCE_DOES_NOT_EXIST"}') as url:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"liftlock+{url}")
        assert found()["API"][0] is True


def test_what_is_broken_is_printed_with_its_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter([("a", True, "well", ""), ("b", False, "ill", "do this")]))
    assert cli.main(["doctor"]) == 1
    assert capsys.readouterr().out == "ok   a: well\nFAIL b: ill\n     fix: do this\n"


def test_a_real_application_and_its_server_are_well(served: Served, tmp_path: Path) -> None:
    done = command(served.python, ["doctor"], variables(tmp_path, f"liftlock+{served.url}"), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for link in ("plugin", "MLFLOW_TRACKING_URI", "settings", "spool", "isolation", "name", "connection", "API"):
        assert f"ok   {link}: " in done.stdout, done.stdout
    assert f"found by mlflow {served.version}" in done.stdout
