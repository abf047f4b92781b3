from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from liftlock.errors import LiftlockError, StoreError
from liftlock.gate.model import GateError
from liftlock.online.control import Control
from liftlock.online.converge import Pace, converge
from liftlock.stores.live import Live
from tests.support.gate import Raw, until
from tests.support.online import QUICK, TwoSides, two_sides

_RUN = "INSERT INTO tags (key, value, run_uuid) SELECT ?, 'v', run_uuid FROM runs LIMIT 1"


@pytest.fixture
def sides(tmp_path: Path) -> Iterator[TwoSides]:
    with two_sides(tmp_path) as made:
        yield made


def write(live: Live, key: str) -> None:
    with closing(sqlite3.connect(live.store.uri.path, timeout=5)) as connection, connection:
        connection.execute(_RUN, (key,))


def has(live: Live, key: str) -> bool:
    return bool(list(live.store.rows("SELECT 1 AS found FROM tags WHERE key = :key", {"key": key})))


def refused(live: Live) -> bool:
    try:
        write(live, f"late-{time.monotonic_ns()}")
    except sqlite3.DatabaseError as error:
        assert "closed by a test" in str(error)
        return True
    return False


def test_everything_written_before_the_switch_is_on_the_new_side(sides: TwoSides, tmp_path: Path) -> None:
    write(sides.blue, "before")
    held = sides.cut().run(Pace(), Control(tmp_path))
    assert held.keys == 1 and held.attempts == 1 and 0 < held.hold < QUICK.hold
    assert has(sides.green, "before")
    assert sides.upstream() is sides.new
    assert refused(sides.blue) and not refused(sides.green)
    assert sides.cut().committed()


def test_going_back_keeps_what_was_written_meanwhile(sides: TwoSides, tmp_path: Path) -> None:
    sides.cut().run(Pace(), Control(tmp_path))
    write(sides.green, "after")
    sides.cut(back=True).run(Pace(), Control(tmp_path))
    assert has(sides.blue, "after")
    assert sides.upstream() is sides.old
    assert refused(sides.green) and not refused(sides.blue)


def test_what_is_applied_is_not_captured_again(sides: TwoSides, tmp_path: Path) -> None:
    write(sides.blue, "once")
    sides.cut().run(Pace(), Control(tmp_path))
    assert sides.green.backlog() == 0
    assert sides.blue.backlog() == 0


@pytest.mark.parametrize("broken", ["finish", "advance", "switch"])
def test_a_failure_before_the_switch_leaves_everything_as_it_was(
    sides: TwoSides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        if broken == "switch":
            raise GateError("broken", code="stale")
        raise StoreError("broken")

    target = {
        "finish": "liftlock.online.flow.Flow.finish",
        "advance": "liftlock.stores.sqlite_live.SqliteLive.advance",
        "switch": "liftlock.gate.client.GateClient.switch",
    }[broken]
    write(sides.blue, "kept")
    monkeypatch.setattr(target, fail)
    with pytest.raises(LiftlockError, match="broken"):
        sides.cut().run(Pace(), Control(tmp_path))
    monkeypatch.undo()
    assert sides.upstream() is sides.old
    assert not refused(sides.blue)
    sides.cut().run(Pace(), Control(tmp_path))
    assert has(sides.green, "kept")


def test_a_write_in_flight_puts_the_cut_over_off(sides: TwoSides, tmp_path: Path) -> None:
    sides.old.delay = 1.0  # longer than the first try waits
    with Raw(sides.gate.port) as raw:
        raw.post("slow")
        until(lambda: sides.old.active_writes == 1)
        held = sides.cut(limits=msgspec.structs.replace(QUICK, tries=5, drain=0.3)).run(Pace(), Control(tmp_path))
        assert raw.answer()[0] == 200
    assert held.attempts > 1 and "still in flight" in held.given_up[0]
    assert sides.old.bodies() == ["slow"]


def test_a_write_during_the_hold_arrives_at_the_new_side_once(sides: TwoSides, tmp_path: Path) -> None:
    slow = threading.Event()

    class Slow(type(sides.cut())):  # type: ignore[misc]  # a class known at run time only
        def _final(self, began: float) -> object:
            slow.set()
            time.sleep(0.3)
            return super()._final(began)

    cut = sides.cut()
    cut = Slow(cut.flows, cut.gate, cut.target, cut.holder, cut.label, cut.limits)
    thread = threading.Thread(target=cut.run, args=(Pace(), Control(tmp_path)))
    thread.start()
    assert slow.wait(5)
    with Raw(sides.gate.port) as raw:
        raw.post("held")
        assert raw.answer()[0] == 200
    thread.join()
    assert sides.new.bodies() == ["held"] and sides.old.bodies() == []


def test_a_hold_that_takes_too_long_is_given_up(sides: TwoSides, tmp_path: Path) -> None:
    limits = msgspec.structs.replace(QUICK, hold=0.0, tries=1)
    with pytest.raises(StoreError, match="more than the 0 s allowed"):
        sides.cut(limits=limits).run(Pace(), Control(tmp_path))
    assert sides.upstream() is sides.old and not refused(sides.blue)


_CHILD = """
import os, sys, time
from pathlib import Path
from liftlock.gate.client import GateClient
from liftlock.gate.model import Address
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.online.control import Control
from liftlock.online.converge import Pace
from liftlock.online.cutover import CutOver
from liftlock.online.flow import Flow
from liftlock.online.translate import Translator
from liftlock.online.translation import translation
from liftlock.stores.opening import live, open_store
from tests.support.online import QUICK

blue, green, socket, target = sys.argv[1:]
sides = [live(open_store(StoreUri.parse("sqlite:///" + path), Role.TRACKING)) for path in (blue, green)]
shapes = [side.shapes() for side in sides]
rules = Translator(translation(Role.TRACKING, (), *shapes), *shapes, None)
flows = [Flow(Role.TRACKING, *sides, rules)]
if os.environ.get("SLEEPY"):  # between fence and switch
    commit = CutOver._commit
    CutOver._commit = lambda *given: (Path(os.environ["SLEEPY"]).touch(), time.sleep(1), commit(*given))
cut = CutOver(flows, Path(socket), Address.parse(target), "test", "closed by a test", QUICK)
cut.run(Pace(), Control(Path(socket).parent / "control"))
"""


def child(sides: TwoSides, **env: str) -> subprocess.Popen[bytes]:
    """The same cut-over in a process that can be killed."""
    words = [str(sides.blue.store.uri.path), str(sides.green.store.uri.path), str(sides.gate.settings.socket)]
    return subprocess.Popen(
        [sys.executable, "-c", _CHILD, *words, str(sides.new.address)],
        env={**os.environ, **env},
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
    )


def effects(sides: TwoSides, log: Path) -> list[str]:
    """Every side effect of one whole cut-over, in order."""
    write(sides.blue, "first")
    assert child(sides, LIFTLOCK_EFFECTS_LOG=str(log)).wait(30) == 0
    return log.read_text().splitlines()


def settled(sides: TwoSides) -> None:
    """After a death: within lease and fence, writers work again on exactly one side, and a repetition ends it."""
    until(lambda: not refused(sides.green if sides.upstream() is sides.new else sides.blue), seconds=4.0)


def test_killed_anywhere_people_write_again_and_a_repetition_finishes(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    with two_sides(tmp_path / "all") as sides:
        names = effects(sides, tmp_path / "effects.log")
    assert len(names) >= 5, names
    for number, name in enumerate(dict.fromkeys(names)):
        place = tmp_path / str(number)
        place.mkdir()
        with two_sides(place) as sides:
            write(sides.blue, "acknowledged")
            died = child(sides, LIFTLOCK_CRASH_AT=f"before:{name}")
            assert died.wait(30) != 0, name
            settled(sides)
            sides.cut().withdraw() if not sides.cut().committed() else sides.cut().settle()
            if not sides.cut().committed():
                assert sides.upstream() is sides.old, name
                sides.cut().run(Pace(), Control(place))
            assert sides.upstream() is sides.new and has(sides.green, "acknowledged"), name
            assert refused(sides.blue), name


def test_an_orchestrator_frozen_in_the_hold_cannot_switch_afterwards(sides: TwoSides, tmp_path: Path) -> None:
    asleep = tmp_path / "asleep"
    died = child(sides, SLEEPY=str(asleep))
    try:
        until(asleep.exists, seconds=10)  # a reader that is frozen in its view keeps SQLite's writers out
        assert refused(sides.blue)
        died.send_signal(signal.SIGSTOP)
        time.sleep(QUICK.fence + 0.5)
        settled(sides)
        write(sides.blue, "while it slept")
        died.send_signal(signal.SIGCONT)
        died.wait(30)
        if died.returncode == 0:  # it was let go, and tried once more from the start
            assert has(sides.green, "while it slept")
        else:
            assert sides.upstream() is sides.old and not refused(sides.blue)
    finally:
        if died.poll() is None:
            died.kill()
            died.wait()


def test_converging_takes_swapped_unique_values(sides: TwoSides, tmp_path: Path) -> None:
    with closing(sqlite3.connect(sides.blue.store.uri.path)) as connection, connection:
        ids = [row[0] for row in connection.execute("SELECT experiment_id FROM experiments ORDER BY 1 LIMIT 2")]
        names = [row[0] for row in connection.execute("SELECT name FROM experiments ORDER BY experiment_id LIMIT 2")]
        for identity, name in ((ids[0], "passing"), (ids[1], names[0]), (ids[0], names[1])):
            connection.execute("UPDATE experiments SET name = ? WHERE experiment_id = ?", (name, identity))
    flow = sides.flow()
    converge([flow], Pace(limits={"tracking": 1}), Control(tmp_path))
    while flow.source.backlog():
        flow.epoch(1)
    query = "SELECT name FROM experiments ORDER BY experiment_id"
    assert list(sides.green.store.rows(query)) == list(sides.blue.store.rows(query))
