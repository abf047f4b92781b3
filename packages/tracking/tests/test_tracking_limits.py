"""What happens at the spool's cap, by policy, and to a creation that found no room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from played_server import Server

from liftlock_tracking import records
from liftlock_tracking.breaker import Breaker
from liftlock_tracking.quiet import again
from liftlock_tracking.runtime import Runtime
from liftlock_tracking.segments import segment_files
from liftlock_tracking.settings import Settings
from liftlock_tracking.shedding import shed
from liftlock_tracking.shipper import Shipper
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State
from liftlock_tracking.wire import Away

CAP = 20_000
Make = Callable[..., Runtime]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes runtimes whose server is played, and away at first; they are stopped at the end."""
    monkeypatch.delenv("MLFLOW_ENABLE_TRACKING", raising=False)
    again("cap")
    made: list[Runtime] = []

    def one(policy: str, **more: Any) -> Runtime:
        settings = Settings(uri="http://x", spool=tmp_path / "s", full=policy, cap=CAP, exit_bound=0.0, **more)
        runtime = Runtime(settings)
        runtime.wire = Server()
        away(runtime)
        made.append(runtime)
        return runtime

    yield one
    for runtime in made:
        runtime.finish()


def away(runtime: Runtime) -> None:
    server: Any = runtime.wire
    server.answer = lambda name, body: Away("nobody there", reached=False)


def back(runtime: Runtime) -> Server:
    """The server answers again, and all is sent."""
    server: Any = runtime.wire
    server.sent.clear()
    server.answer = None
    until(lambda: runtime.spool.pending() == 0)
    assert isinstance(server, Server)
    return server


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def point(step: int) -> dict[str, Any]:
    return {"k": "b", "r": "r" * 32, "m": [["m", 1.0, 5, step]]}


def fill(runtime: Runtime) -> int:
    """Points until the cap; says how many."""
    count = 0
    while runtime.spool.size() < CAP:
        assert runtime.append(point(count)) is not None
        count += 1
    return count


def arrived(server: Server) -> list[int]:
    """Steps of the points that arrived, in order, those of repeated requests once."""
    steps = [m["step"] for _, name, body in server.sent if name == "runs/log-batch" for m in body["metrics"]]
    return list(dict.fromkeys(steps))


def spooled(folder: Path) -> list[dict[str, Any]]:
    """Every call in the files."""
    found = []
    for path in segment_files(folder):
        items = list(records.scan(path.read_bytes(), complete=True))
        found += [item.call for item in items if isinstance(item, records.Record)]
    return found


def test_keep_keeps_everything_and_warns(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    runtime = make("keep")
    count = fill(runtime)
    for step in range(count, 2 * count):
        assert runtime.append(point(step)) is not None
    assert "more than its cap" in caplog.text and runtime.lost == 0
    server = back(runtime)
    assert arrived(server) == list(range(2 * count))


def test_block_waits_until_there_is_room(make: Make) -> None:
    runtime = make("block")
    count = fill(runtime)
    waiting = threading.Thread(target=lambda: runtime.append(point(count)), daemon=True)
    waiting.start()
    waiting.join(0.3)
    assert waiting.is_alive() and not any(c["m"][0][3] == count for c in spooled(runtime.spool.folder))
    server = back(runtime)
    waiting.join(5)
    assert not waiting.is_alive()
    until(lambda: len(arrived(server)) == count + 1)
    assert runtime.lost == 0


def test_block_lets_go_when_tracking_is_switched_off(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = make("block")
    fill(runtime)
    waiting = threading.Thread(target=lambda: runtime.append(point(1)), daemon=True)
    waiting.start()
    waiting.join(0.1)
    assert waiting.is_alive()
    monkeypatch.setenv("MLFLOW_ENABLE_TRACKING", "false")
    waiting.join(5)
    assert not waiting.is_alive()


def test_stop_drops_everything_and_goes_on_when_there_is_room(make: Make) -> None:
    runtime = make("stop")
    count = fill(runtime)
    prov = "lt" + "b" * 30
    new_run = {"k": "run", "p": prov, "body": {"experiment_id": "0", "tags": []}}
    tag = {"k": "b", "r": prov, "t": [["a", "1"]]}
    assert runtime.append(point(count)) is None and runtime.append(new_run) is None and runtime.append(tag) is None
    assert runtime.lost == 3
    server = back(runtime)
    assert arrived(server) == list(range(count)) and "runs/create" not in server.names()
    # The run that was begun meanwhile is made with the first call about it that finds room.
    assert runtime.append({**tag, "t": [["a", "2"]]}) is not None
    until(lambda: runtime.spool.pending() == 0)
    assert server.names()[-2:] == ["runs/create", "runs/log-batch"]
    assert server.sent[-1][2]["run_id"] == "0" * 32 and runtime.lost == 2


def test_an_experiment_that_found_no_room_is_made_with_its_first_run(make: Make) -> None:
    runtime = make("stop")
    fill(runtime)
    experiment = {"k": "experiment", "p": "lx" + "e" * 30, "body": {"name": "mine"}}
    new_run = {"k": "run", "p": "lt" + "b" * 30, "body": {"experiment_id": experiment["p"], "tags": []}}
    assert runtime.append(experiment) is None and runtime.append(new_run) is None
    back(runtime)
    assert runtime.append({"k": "b", "r": new_run["p"], "t": [["a", "2"]]}) is not None
    assert [c["k"] for c in spooled(runtime.spool.folder)][-3:] == ["experiment", "run", "b"]


def test_drop_metrics_drops_the_oldest_points_and_nothing_else(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    runtime = make("drop-metrics")
    count = 0
    for count in range(3000):
        assert runtime.append(point(count)) is not None
        if count % 100 == 0:
            assert runtime.append(
                {"k": "b", "r": "r" * 32, "p": [[f"p{count}", "v"]], "m": [["x", 1.0, 5, 10_000 + count]]}
            )
        if count % 50 == 0:
            until(lambda: runtime.spool.size() < CAP)
    assert runtime.lost > 1000 and "oldest points were dropped" in caplog.text
    until(lambda: runtime.spool.size() == sum(p.stat().st_size for p in segment_files(runtime.spool.folder)))
    server = back(runtime)
    steps = [step for step in arrived(server) if step < 10_000]
    assert steps == list(range(steps[0], count + 1)), "the newest points, without a gap"
    params = [p["key"] for _, name, body in server.sent if name == "runs/log-batch" for p in body["params"]]
    assert sorted(set(params)) == sorted(f"p{n}" for n in range(0, count, 100))
    assert len(arrived(server)) + runtime.lost == 3000 + 30


def test_when_old_points_cannot_go_fast_enough_new_ones_are_dropped(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = make("drop-metrics")
    monkeypatch.setattr(runtime.limits, "excess", lambda: 0)
    kept = 0
    while runtime.append(point(kept)) is not None:
        kept += 1
    assert CAP <= runtime.spool.size() < CAP * 3 // 2 and runtime.lost == 1
    assert runtime.append({"k": "b", "r": "r" * 32, "p": [["p", "v"]]}) is not None


def test_points_of_processes_that_are_gone_are_the_first_to_go(tmp_path: Path) -> None:
    settings = Settings(uri="http://x", spool=tmp_path)
    gone = Spool(settings)
    for step in range(200):
        gone.append(point(step))
    gone.append({"k": "b", "r": "r" * 32, "t": [["kept", "x"]]})
    gone.segments[0].close()
    own, state = Spool(settings), State(tmp_path)
    for step in range(200, 230):
        own.append(point(step))
    assert shed(own, state, 5_000) > 50
    left = spooled(tmp_path)
    steps = [c["m"][0][3] for c in left if "m" in c]
    assert steps == list(range(steps[0], 230)) and 50 < steps[0] < 200
    assert len([c for c in left if "t" in c]) == 1
    server = Server()
    shipper = Shipper(own, state, server, Breaker(), lambda: True)
    shipper.orphans()
    assert shipper.own() and own.pending() == 0
    assert arrived(server) == steps and segment_files(tmp_path) == [own.segments[0].path]


def test_points_that_arrived_are_not_sent_again_when_others_are_dropped(tmp_path: Path) -> None:
    own, state, server = Spool(Settings(uri="http://x", spool=tmp_path)), State(tmp_path), Server()
    shipper = Shipper(own, state, server, Breaker(), lambda: True)
    for step in range(100):
        own.append(point(step))
    assert shipper.own()
    for step in range(100, 300):
        own.append(point(step))
    told = own.written
    dropped = shed(own, state, 5_000)
    assert own.pending() == sum(s.size - s.shipped for s in own.segments)
    own.append(point(300))
    while shipper.own():
        pass
    steps = [m["step"] for _, _, body in server.sent for m in body["metrics"]]
    assert steps == [*range(100), *range(100 + dropped, 301)]
    assert own.wait(told, 0) and own.pending() == 0


@pytest.mark.parametrize("moment", ["before the new file counts", "after it", "before the old one is gone"])
def test_a_kill_while_points_are_dropped_leaves_one_whole_file(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Spool(Settings(uri="http://x", spool=tmp_path))
    for step in range(200):
        gone.append(point(step))
    gone.segments[0].close()

    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    target = {"before the new file counts": "os.rename", "after it": "liftlock_tracking.state.State.succeed",
              "before the old one is gone": "pathlib.Path.unlink"}[moment]  # fmt: skip
    own, state = Spool(gone.settings), State(tmp_path)
    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(target, kill)
        shed(own, state, 5_000)
        raise AssertionError("nothing was killed")
    steps = [c["m"][0][3] for c in spooled(tmp_path)]
    assert steps == list(range(steps[0], 200)) and (steps[0] == 0) == (moment == "before the new file counts")
    assert len(list(tmp_path.glob("*.seg*"))) == 2
    for _ in own.orphans():
        pass
    assert len(list(tmp_path.glob("*.seg*"))) == 1 and [c["m"][0][3] for c in spooled(tmp_path)] == steps
