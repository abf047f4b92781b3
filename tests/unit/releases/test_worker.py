import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from liftlock.errors import ReleaseError
from liftlock.model.secret import Secret
from liftlock.releases import worker
from liftlock.releases.worker import InsideFailed, Worker

MODULE = """
import os, subprocess, time
def echo(a, progress):
    print("noise on stdout"); os.system("echo noise from a child")
    progress({"n": 1})
    return {"got": a, "environment": sorted(os.environ), "path": __import__("sys").path}
def fail(a, progress): raise ValueError("cannot open " + a["uri"] + "\\nmore")
def die(a, progress): print("last words"); os._exit(7)
def hang(a, progress): time.sleep(60)
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(worker.INSIDE / "worker.py", tmp_path)
    (tmp_path / "m.py").write_text(MODULE)
    monkeypatch.setattr(worker, "INSIDE", tmp_path)
    return Path(sys.executable)


def test_answers_are_apart_from_noise_and_the_environment_is_clean(
    python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://production")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    seen: list[object] = []
    with Worker(python, "x", env={"MLFLOW_EXTRA": "1"}) as running:
        for number in range(2):
            answer = running.call("m", "echo", {"n": number}, timeout=20, progress=seen.append)
            assert answer["got"] == {"n": number}
    assert seen == [{"n": 1}, {"n": 1}]
    assert "MLFLOW_EXTRA" in answer["environment"]
    assert not {"MLFLOW_TRACKING_URI", "PYTHONPATH"} & set(answer["environment"])
    assert str(worker.INSIDE) not in answer["path"]


def test_a_failure_is_one_redacted_line_and_the_worker_lives_on(python: Path) -> None:
    secret = Secret("pa55word-of-db")
    with Worker(python, "MLflow 1") as running:
        with pytest.raises(InsideFailed) as caught:
            running.call("m", "fail", {"uri": f"postgresql://u:{secret.reveal()}@h/d"}, timeout=20)
        assert caught.value.message == "MLflow 1: fail failed: ValueError: cannot open postgresql://u:***@h/d"
        assert secret.reveal() not in running.output()
        assert running.call("m", "echo", {}, timeout=20)["got"] == {}


def test_a_dead_worker_says_its_last_words_and_another_takes_its_place(python: Path) -> None:
    with Worker(python, "x") as running:
        first = running.pid
        with pytest.raises(ReleaseError, match="died during die: last words") as caught:
            running.call("m", "die", {}, timeout=20)
        assert caught.value.retryable
        assert running.call("m", "echo", {"n": 2}, timeout=20)["got"] == {"n": 2}
        assert running.pid != first
    with pytest.raises(ReleaseError, match="died"):
        running.call("m", "echo", {}, timeout=20)


def test_the_deadline_kills(python: Path) -> None:
    with Worker(python, "x") as running, pytest.raises(ReleaseError, match="did not end in time"):
        running.call("m", "hang", {}, timeout=0.3)
    assert not psutil.pid_exists(running.pid)


def test_it_ends_with_its_parent_even_when_busy(python: Path, tmp_path: Path) -> None:
    code = (
        "import sys, threading, time\nfrom pathlib import Path\nfrom liftlock.releases import worker\n"
        f"worker.INSIDE = Path({str(tmp_path)!r})\nw = worker.Worker(Path(sys.executable), 'x')\n"
        "threading.Thread(target=lambda: w.call('m', 'hang', {}, timeout=50)).start()\n"
        "time.sleep(0.3)\nprint(w.pid, flush=True)\ntime.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, 9)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)
