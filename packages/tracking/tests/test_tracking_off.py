"""Off means off: with the switch off, or nothing configured, no socket, no thread, no file; traced by the interpreter."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
from tracking_support import run, variables

# Every audit event of the interpreter while the application uses all of `mlflow`'s logging calls.
TRACED = """
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
if hasattr(mlflow, "start_span"):
    with mlflow.start_span(name="s") as span:
        span.set_outputs({"a": 1})
c = MlflowClient()
assert c.get_run(outer.info.run_id).info.status == "FINISHED"
assert c.search_runs(["0"]) == []
c.create_registered_model("model")
assert c.create_model_version("model", "s3://nowhere/x").name == "model"
on = False
print(json.dumps(seen))
"""

LATER = """
assert mlflow.get_tracking_uri() == 'liftlock+off:'
assert MlflowClient()._tracking_client.store
traced = lambda: not hasattr(mlflow, "tracing") or mlflow.tracing.provider.is_tracing_enabled()
assert not traced() or not hasattr(mlflow, "tracing")
os.environ['MLFLOW_TRACKING_URI'] = 'liftlock+http://a:1'
assert mlflow.get_tracking_uri() == 'liftlock+http://a:1'
assert MlflowClient()._tracking_client.store
deadline = time.time() + 30
while not traced():
    assert time.time() < deadline
    time.sleep(0.05)
mlflow.set_tracking_uri('http://b:2')
assert mlflow.get_tracking_uri() == 'http://b:2'
"""

SWITCHED = """
switch = pathlib.Path(os.environ['LIFTLOCK_TRACKING_ENV_FILE'])
switch.write_text('MLFLOW_ENABLE_TRACKING=true\\n')
c = mlflow.MlflowClient(); store = c._tracking_client.store
r = c.create_run('0'); c.log_metric(r.info.run_id, 'a', 1.0)
before = store._runtime.spool.written
switch.write_text('MLFLOW_ENABLE_TRACKING=false\\n')
time.sleep(1.1); c.log_metric(r.info.run_id, 'a', 2.0); off = c.create_run('0')
assert store._runtime.spool.written == before
switch.write_text('MLFLOW_ENABLE_TRACKING = true\\n')
time.sleep(1.1); c.log_metric(off.info.run_id, 'a', 2.0)
assert store._runtime.spool.written == before, 'a run that was never made'
c.log_metric(r.info.run_id, 'a', 3.0); assert store._runtime.spool.written > before
"""

NOBODY = {"MLFLOW_TRACKING_URI": "liftlock+http://127.0.0.1:9"}
CASES = {
    "switched off": (TRACED, {**NOBODY, "MLFLOW_ENABLE_TRACKING": "false"}),
    "not configured": (TRACED, {}),
    "on": (
        TRACED.split("c = MlflowClient()")[0] + "on = False\nprint(json.dumps(seen))",
        {**NOBODY, "LIFTLOCK_TRACKING_READ_BOUND": "0.1"},
    ),
    "later": (LATER, {}),
    "switched": (SWITCHED, {**NOBODY, "LIFTLOCK_TRACKING_ENV_FILE": "../switch.env"}),
}

# MLflow is imported once, with nothing configured; then every case is a process of its own in a folder of its own.
ALL = """
import json, os, pathlib, sys, time
import mlflow
from mlflow import MlflowClient
import mlflow.tracking._model_registry.utils, mlflow.store.artifact.artifact_repository_registry
cases = json.load(open("cases.json"))
children = {}
for name, (code, env) in cases.items():
    child = os.fork()
    if child == 0:
        os.makedirs(f"{name}/work")
        for number, kind in ((1, "out"), (2, "err")):
            os.dup2(os.open(f"{name}/{kind}", os.O_CREAT | os.O_WRONLY, 0o600), number)
        os.chdir(f"{name}/work")
        os.environ.update(env, LIFTLOCK_TRACKING_SPOOL="../spool")
        exec(code, {**globals(), "__name__": "__main__"})
        sys.exit(0)
    children[child] = name
status = {}
for _ in cases:
    child, code = os.wait()
    status[children[child]] = os.waitstatus_to_exitcode(code)
print(json.dumps(status))
"""


@pytest.fixture(scope="module")
def folder(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where every case ran: a folder each with `out`, `err`, `work` and, if there is one, `spool`."""
    made = tmp_path_factory.mktemp("off")
    (made / "cases.json").write_text(json.dumps(CASES))
    # Compiled modules are files too: none are written.
    env = variables(made, None, PYTHONDONTWRITEBYTECODE="1")
    done = run(python, ["-c", textwrap.dedent(ALL)], env, made)
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout.splitlines()[-1])
    assert status == dict.fromkeys(CASES, 0), [(made / name / "err").read_text() for name in CASES]
    return made


def seen(folder: Path, case: str) -> list[str]:
    """What the trace saw."""
    return list(json.loads((folder / case / "out").read_text().splitlines()[-1]))


@pytest.mark.parametrize("case", ["switched off", "not configured"])
def test_no_socket_no_thread_no_file(folder: Path, case: str) -> None:
    assert seen(folder, case) == []
    assert [p.name for p in (folder / case / "work").iterdir()] == ["artifact.txt"]
    assert not (folder / case / "spool").exists()
    # Nor does MLflow say that a trace could not be sent.
    assert "trace" not in (folder / case / "err").read_text()


def test_the_trace_sees_what_is_done_when_on(folder: Path) -> None:
    """The same application with tracking on: the test above can fail."""
    found = seen(folder, "on")
    assert "thread liftlock-tracking-ship" in found and "socket.connect" in found, found
    assert any(".seg" in each for each in found), found


def test_a_uri_set_later_counts_although_nothing_was_configured(folder: Path) -> None:
    assert (folder / "later" / "err").read_text() == ""


def test_the_switch_file_turns_a_running_process_off_and_on(folder: Path) -> None:
    assert (folder / "switched" / "spool").exists()
