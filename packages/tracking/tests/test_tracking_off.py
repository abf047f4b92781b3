"""Off means off: with the switch off, or nothing configured, no socket, no thread, no file; traced by the interpreter."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support import releases
from tracking_support import run, variables

pytestmark = [pytest.mark.release, pytest.mark.xdist_group("tracking-off")]

# Every audit event of the interpreter while the application uses all of `mlflow`'s logging calls.
TRACED = """
import json, os, sys
import mlflow
from mlflow import MlflowClient
import mlflow.tracking._model_registry.utils, mlflow.store.artifact.artifact_repository_registry
seen, on = [], False
def hook(event, values):
    if not on:
        return
    if event.startswith("socket.") or event == "sqlite3.connect":
        seen.append(event)
    if event in ("os.mkdir", "os.rename", "os.link"):
        seen.append(f"{event} {values}")
    if event == "open" and isinstance(values[0], (str, bytes)) and isinstance(values[2], int) and values[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and values[0] != os.devnull:
        seen.append(f"open {values[0]}")
sys.addaudithook(hook)
# The interpreter tells of new threads only from 3.12 on: see them here.
import threading
begin = threading.Thread.start
def start(thread):
    if on:
        seen.append(f"thread {thread.name}")
    begin(thread)
threading.Thread.start = start
open("artifact.txt", "w").write("x")
on = True
mlflow.set_experiment("mine")
with mlflow.start_run(run_name="a") as outer:
    for i in range(50):
        mlflow.log_metric("m", i, step=i)
    mlflow.log_params({"p": 1}); mlflow.set_tag("k", "v"); mlflow.log_metrics({"a": 1.0, "b": 2.0})
    mlflow.log_artifact("artifact.txt")
    with mlflow.start_run(nested=True):
        mlflow.log_metric("n", 1)
c = MlflowClient()
assert c.get_run(outer.info.run_id).info.status == "FINISHED"
assert c.search_runs(["0"]) == []
c.create_registered_model("model")
assert c.create_model_version("model", "s3://nowhere/x").name == "model"
on = False
print(json.dumps(seen))
"""


@pytest.fixture(params=[releases.OLD, "newest"])
def python(request: pytest.FixtureRequest) -> Path:
    return releases.environment(releases.newest() if request.param == "newest" else request.param).python


@pytest.mark.parametrize("configured", [True, False])
def test_no_socket_no_thread_no_file(python: Path, tmp_path: Path, configured: bool) -> None:
    env = variables(tmp_path, "liftlock+http://127.0.0.1:9" if configured else None)
    if configured:
        env["MLFLOW_ENABLE_TRACKING"] = "false"
    work = tmp_path / "work"
    work.mkdir()
    done = run(python, ["-c", TRACED], env, work)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.strip().splitlines()[-1]) == []
    assert sorted(p.name for p in work.iterdir()) == ["artifact.txt"]
    assert not (tmp_path / "spool").exists()


def test_the_trace_sees_what_is_done_when_on(python: Path, tmp_path: Path) -> None:
    """The same application with tracking on: the test above can fail."""
    env = variables(tmp_path, "liftlock+http://127.0.0.1:9", LIFTLOCK_TRACKING_READ_BOUND="0.1")
    code = TRACED.split("c = MlflowClient()")[0] + "on = False\nprint(json.dumps(seen))"
    done = run(python, ["-c", code], env, tmp_path)
    seen = json.loads(done.stdout.strip().splitlines()[-1])
    assert "thread liftlock-tracking-ship" in seen and "socket.connect" in seen and any(".seg" in s for s in seen), seen


def test_a_uri_set_later_counts_although_nothing_was_configured(python: Path, tmp_path: Path) -> None:
    code = (
        "import mlflow, os\n"
        "assert mlflow.get_tracking_uri() == 'liftlock+off:'\n"
        "os.environ['MLFLOW_TRACKING_URI'] = 'liftlock+http://a:1'\n"
        "assert mlflow.get_tracking_uri() == 'liftlock+http://a:1'\n"
        "mlflow.set_tracking_uri('http://b:2')\n"
        "assert mlflow.get_tracking_uri() == 'http://b:2'\n"
    )
    done = run(python, ["-c", code], variables(tmp_path, None), tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_switch_file_turns_a_running_process_off_and_on(python: Path, tmp_path: Path) -> None:
    switch = tmp_path / ".env"
    switch.write_text("MLFLOW_ENABLE_TRACKING=true\n")
    code = (
        "import mlflow, os, time, pathlib\n"
        "c = mlflow.MlflowClient(); store = c._tracking_client.store\n"
        "r = c.create_run('0'); c.log_metric(r.info.run_id, 'a', 1.0)\n"
        "before = store._runtime.spool.written\n"
        "pathlib.Path(os.environ['LIFTLOCK_TRACKING_ENV_FILE']).write_text('MLFLOW_ENABLE_TRACKING=false\\n')\n"
        "time.sleep(1.1); c.log_metric(r.info.run_id, 'a', 2.0); off = c.create_run('0')\n"
        "assert store._runtime.spool.written == before\n"
        "pathlib.Path(os.environ['LIFTLOCK_TRACKING_ENV_FILE']).write_text('MLFLOW_ENABLE_TRACKING = true\\n')\n"
        "time.sleep(1.1); c.log_metric(off.info.run_id, 'a', 2.0)\n"
        "assert store._runtime.spool.written == before, 'a run that was never made'\n"
        "c.log_metric(r.info.run_id, 'a', 3.0); assert store._runtime.spool.written > before\n"
    )
    env = variables(tmp_path, "liftlock+http://127.0.0.1:9", LIFTLOCK_TRACKING_ENV_FILE=str(switch))
    done = run(python, ["-c", code], env, tmp_path)
    assert done.returncode == 0, done.stderr
