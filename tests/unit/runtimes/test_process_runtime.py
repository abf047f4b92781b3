from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from liftlock.errors import ServerError
from liftlock.model.secret import Secret
from liftlock.runtimes import process_health, process_tree
from liftlock.runtimes.interface import Handle
from liftlock.runtimes.process import ProcessRuntime
from tests.support.servers import free_port, stub_spec


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[ProcessRuntime]:
    runtime = ProcessRuntime(tmp_path / "state")
    yield runtime
    handle = runtime.find()
    if handle is not None:
        runtime.stop(handle, timeout=1.0)


def test_start_answers_health_and_stop_leaves_nothing(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv")
    handle = runtime.start(spec, timeout=20)
    members = process_tree.family(handle)
    assert len(members) == 3
    assert runtime.alive(handle)
    assert runtime.find() == handle
    assert process_health.healthy("127.0.0.1", spec.port)
    assert os.getsid(handle.pid) == handle.pid != os.getsid(0)
    runtime.stop(handle)
    assert not runtime.alive(handle)
    assert runtime.find() is None
    assert not any(process_tree.lives(process) for process in members.values())
    assert process_tree.port_is_free("127.0.0.1", spec.port)
    runtime.stop(handle)  # one already gone is no error


@pytest.mark.parametrize("behaviour", ["ignore-term", "own-group", "own-group,ignore-term"])
def test_workers_that_outlive_their_parent_are_ended(tmp_path: Path, runtime: ProcessRuntime, behaviour: str) -> None:
    spec = stub_spec(tmp_path / "srv", behaviour=behaviour)
    handle = runtime.start(spec, timeout=20)
    os.kill(handle.pid, signal.SIGKILL)
    _until(lambda: not runtime.alive(handle))
    assert process_health.healthy("127.0.0.1", spec.port), "the orphans should still serve"
    runtime.stop(handle, timeout=0.5)
    assert process_tree.port_is_free("127.0.0.1", spec.port)


def test_orphans_are_found_by_a_new_runtime(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv", behaviour="own-group")
    handle = runtime.start(spec, timeout=20)
    os.kill(handle.pid, signal.SIGKILL)
    _until(lambda: not runtime.alive(handle))
    later = ProcessRuntime(runtime.state_dir)
    survivor = later.find()
    assert survivor is not None
    assert survivor != handle
    later.stop(survivor, timeout=1)
    assert process_tree.port_is_free("127.0.0.1", spec.port)
    assert later.find() is None


def test_early_death_says_why_and_hides_secrets(tmp_path: Path, runtime: ProcessRuntime) -> None:
    password = Secret("hunter2-canary").reveal()
    says = f"Can't locate revision identified by 'f4a9b2c7d1e6' postgresql://u:{password}@h/db"
    spec = stub_spec(tmp_path / "srv", behaviour="early-death", says=says)
    with pytest.raises(ServerError, match="status 3") as caught:
        runtime.start(spec, timeout=20)
    assert "f4a9b2c7d1e6" in caught.value.hint
    assert "does not know" in caught.value.hint
    assert password not in caught.value.message + caught.value.hint
    assert "***" in caught.value.message
    assert runtime.find() is None
    assert password not in "".join(runtime.logs())


def test_a_server_that_never_answers_is_gone_again(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv", behaviour="hang,ignore-term")
    started = time.monotonic()
    with pytest.raises(ServerError, match="did not answer /health within 1 s"):
        runtime.start(spec, timeout=1.0)
    assert time.monotonic() - started < 10
    assert not [p for p in psutil.process_iter() if _cwd(p) == str(spec.working_directory)]


def test_slow_start_is_waited_for(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv", behaviour="slow", slow="1.5")
    assert runtime.alive(runtime.start(spec, timeout=20))


def test_static_prefix(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv", prefix="/mlflow")
    assert runtime.alive(runtime.start(spec, timeout=20))


def test_port_taken_names_the_holder_before_anything_starts(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv")
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", spec.port))
        holder.listen(1)
        with subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[holder.fileno()]
        ) as child:
            try:
                with pytest.raises(ServerError, match=rf"port {spec.port} is taken by .*PID {child.pid}"):
                    runtime.start(spec)
            finally:
                child.kill()
    assert not runtime.log.exists()
    assert runtime.find() is None


def test_port_that_the_dead_still_hold_is_waited_for(tmp_path: Path, runtime: ProcessRuntime) -> None:
    """The kernel closes the sockets of a killed server after it stopped showing them; here nobody shows any either."""
    spec = stub_spec(tmp_path / "srv")
    holder = socket.socket()
    holder.bind(("127.0.0.1", spec.port))
    holder.listen(1)  # of this very process, which is not among the listeners that are looked through
    threading.Timer(1.0, holder.close).start()
    assert runtime.alive(runtime.start(spec, timeout=20))


def test_impossible_address(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv")
    elsewhere = type(spec)(**{name: getattr(spec, name) for name in spec.__struct_fields__} | {"host": "192.0.2.1"})
    with pytest.raises(ServerError, match=r"cannot listen on 192\.0\.2\.1"):
        runtime.start(elsewhere)


def test_second_start_is_refused(tmp_path: Path, runtime: ProcessRuntime) -> None:
    handle = runtime.start(stub_spec(tmp_path / "srv"), timeout=20)
    with pytest.raises(ServerError, match=f"running already: PID {handle.pid}"):
        runtime.start(stub_spec(tmp_path / "srv"))


def test_a_reused_pid_is_never_signalled(tmp_path: Path, runtime: ProcessRuntime) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as bystander:
        try:
            stale = Handle(pid=bystander.pid, created=psutil.Process(bystander.pid).create_time() - 100)
            assert not runtime.alive(stale)
            runtime.stop(stale, timeout=1)
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_missing_interpreter(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv")
    broken = type(spec)(
        **{name: getattr(spec, name) for name in spec.__struct_fields__} | {"python": tmp_path / "no" / "python"}
    )
    with pytest.raises(Exception, match="could not be started: No such file"):
        runtime.start(broken)
    assert runtime.find() is None


def test_stops_a_server_that_a_person_started(tmp_path: Path, runtime: ProcessRuntime) -> None:
    spec = stub_spec(tmp_path / "srv", behaviour="ignore-term")
    # Same group as this test: the group must not be signalled, only the server's own descendants.
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *spec.arguments], cwd=spec.working_directory, env=spec.environment
    ) as child:
        _until(lambda: process_health.healthy("127.0.0.1", spec.port))
        handle = process_tree.handle_of(child.pid)
        assert handle is not None
        runtime.stop(handle, timeout=0.5)
        assert child.wait(5) != 0
    assert process_tree.port_is_free("127.0.0.1", spec.port)


@pytest.mark.parametrize("point", ["after:record server start", "after:start server", "after:record server"])
def test_killed_while_starting_loses_no_server(tmp_path: Path, runtime: ProcessRuntime, point: str) -> None:
    port = free_port()
    script = _start_script(runtime.state_dir, tmp_path / "srv", port)
    environment = {**os.environ, "LIFTLOCK_CRASH_AT": point}
    root = Path(__file__).parents[3]
    ended = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    handle = runtime.find()
    if point == "after:record server start":
        assert handle is None
    else:
        assert handle is not None
        runtime.stop(handle, timeout=2)
    assert runtime.find() is None
    assert process_tree.port_is_free("127.0.0.1", port)
    assert runtime.alive(runtime.start(stub_spec(tmp_path / "srv", port=port), timeout=20))


def test_the_server_outlives_the_program_that_started_it(tmp_path: Path, runtime: ProcessRuntime) -> None:
    port = free_port()
    script = _start_script(runtime.state_dir, tmp_path / "srv", port)
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=Path(__file__).parents[3], timeout=60, check=True
    )
    handle = runtime.find()
    assert handle is not None
    assert process_health.healthy("127.0.0.1", port)


def test_damaged_record(runtime: ProcessRuntime) -> None:
    runtime.state_dir.mkdir(parents=True)
    record = runtime.state_dir / "server.json"
    record.write_text("{]")
    with pytest.raises(ServerError, match="damaged"):
        runtime.find()
    record.unlink()


def _start_script(state: Path, server: Path, port: int) -> str:
    return (
        "from pathlib import Path\n"
        "from tests.support.servers import stub_spec\n"
        "from liftlock.runtimes.process import ProcessRuntime\n"
        f"ProcessRuntime(Path({str(state)!r})).start(stub_spec(Path({str(server)!r}), port={port}))\n"
    )


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _cwd(process: psutil.Process) -> str:
    try:
        return str(process.cwd())
    except psutil.Error:
        return ""
