"""Looks from a schedule: each goes on where the last one ended. A real log and journal; time moves as a test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from liftlock import clock
from liftlock.app.watch import Options, watch
from liftlock.app.watch_baseline import Baselines
from liftlock.app.workspace import Workspace
from liftlock.errors import Refused, UsageError
from liftlock.evidence import account
from liftlock.gate.installed import Installed, save
from liftlock.gate.log import AccessLog, Line
from liftlock.gate.model import Address
from liftlock.model.finding import Outcome
from liftlock.model.journal import Kind
from tests.support.receivers import hook, serving

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
PATHS = ("/api/2.0/mlflow/runs/search", "/api/2.0/mlflow/runs/log-batch")


class Place:
    """A deployment with a gate, of which only what a watch looks at is there."""

    def __init__(self, directory: Path, port: int, monkeypatch: pytest.MonkeyPatch, more: str = "") -> None:
        directory.mkdir(exist_ok=True)
        (directory / "liftlock.toml").write_text(
            f'format = 1\nname = "d"\n[server]\nrelease = "3.17.2"\npython = "p"\nport = {port}\n'
            f'working_directory = "."\n'
            f'[stores]\ntracking = "sqlite:///m.db"\n[watch]\nsettle = 60.0\nbreaches = 2\n{more}'
        )
        self.workspace = Workspace.open(directory / "liftlock.toml")
        self.now = START
        self.gate = self.workspace.state / "gate"
        self.gate.mkdir()
        here = Address(host="127.0.0.1", port=port)
        save(self.gate, Installed(public=here, private=here))
        self._log = AccessLog(self.gate / "access.log", max_bytes=1 << 20, files=5)
        monkeypatch.setattr(clock, "now", lambda: self.now)

    def traffic(self, milliseconds: float, *, number: int = 400, status: int = 200) -> None:
        """So many requests, one after the other up to now."""
        for each in range(number):
            at = int(self.now.timestamp() * 1000) - (number - each) * 10
            us = int(milliseconds * 1000) + each % 7 * 100
            self._log.add([Line(at, "10.0.0.1", "POST", PATHS[each % 2], "mlflow", "3.4.0", True, status, us)])
        asyncio.run(self._log.flush())

    def upgraded(self) -> None:
        journal = self.workspace.journal
        journal.append("r", Kind.RUN_STARTED, "", {"kind": "upgrade", "from": "2.9.2", "to": "3.17.2"})
        Baselines(self.workspace).note(journal.run("r"))
        self.later(minutes=5)
        journal.append("r", Kind.RUN_ENDED, "", {"outcome": "done"})

    def later(self, **much: float) -> None:
        self.now += timedelta(**much)

    def codes(self, *, recent: bool = False) -> dict[str, Outcome]:
        found = watch(self.workspace, Options())
        return {each.code: each.outcome for each in (found.recent if recent else found.findings)}


@pytest.fixture
def port() -> Iterator[int]:
    """A server that is healthy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"OK")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    with serving(server):
        yield server.server_address[1]
    assert threading.active_count() < 20


@pytest.fixture
def place(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path / "d", port, monkeypatch)


def test_what_came_before_what_settles_and_what_counts(place: Place) -> None:
    place.traffic(20)
    place.upgraded()
    place.later(seconds=30)
    place.traffic(900)  # it settles
    place.later(minutes=2)
    assert place.codes()["LLW002"] is Outcome.UNKNOWN
    place.later(minutes=2)
    place.traffic(21)
    found = watch(place.workspace, Options())
    assert {each.code: each.outcome for each in found.findings}["LLW002"] is Outcome.PASS
    assert (found.requests, found.looks, found.breaching) == (400, 2, 0)


def test_a_breach_is_two_looks_in_a_row_is_told_once_and_ends_with_what_caused_it(
    tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hook() as receiver:
        more = f'[[notify.receivers]]\nkind = "webhook"\nurl = "{receiver.url()}"\n'
        place = Place(tmp_path / "d", port, monkeypatch, more)
        place.traffic(20)
        place.upgraded()
        found = []
        for minutes, milliseconds in ((3, 80), (5, 80), (5, 80), (30, 80), (5, 80), (20, 20), (5, 20)):
            place.later(minutes=minutes)
            place.traffic(milliseconds)
            found.append(watch(place.workspace, Options(roll_back="never")))
        # the fourth look comes after more than a window, so it begins to count anew
        assert [each.breaching for each in found] == [1, 2, 3, 1, 2, 0, 0]
        assert [each.breached_at is not None for each in found] == [False, True, True, False, True, False, False]
        assert found[-1].requests == 7 * 400 and found[-1].recent == ()
        assert [each["event"] for each in receiver.bodies()] == ["breach", "breach"]
        assert "p50" in receiver.bodies()[0]["text"]
    noted = [each for each in place.workspace.journal.entries("r") if each.step == "watch"]
    # what changed is noted; what stayed as it was is not, before an hour has passed
    assert 2 < len(noted) < 7 and account.watched(noted) is not None


def test_the_journal_gets_a_line_an_hour_while_nothing_changes(place: Place) -> None:
    place.traffic(20)
    place.upgraded()
    place.later(minutes=2)
    for _ in range(26):
        place.later(minutes=5)
        place.traffic(20)
        watch(place.workspace, Options())
    noted = [each for each in place.workspace.journal.entries("r") if each.step == "watch"]
    watched = account.watched(noted)
    assert 3 <= len(noted) <= 6 and watched is not None and watched.hours > 1.5


def test_without_a_baseline_or_with_a_run_under_way_nothing_is_judged(place: Place) -> None:
    with pytest.raises(Refused, match="nothing is known of how the server was before"):
        watch(place.workspace, Options())
    place.workspace.journal.append("r", Kind.RUN_STARTED, "", {"kind": "upgrade", "from": "2.9.2", "to": "3.17.2"})
    with pytest.raises(Refused, match="has not ended"):
        watch(place.workspace, Options())


@pytest.mark.parametrize(
    "line",
    [
        "warn = 0.9", "errors_act = 0.001", "registrations_act = 0.999", "window = 0.0", "breaches = 0",
        'roll_back = "now"',
    ],
)  # fmt: skip
def test_numbers_that_contradict_each_other_are_refused_with_their_place(tmp_path: Path, line: str) -> None:
    (tmp_path / "liftlock.toml").write_text(
        'format = 1\nname = "d"\n[server]\nrelease = "3.17.2"\npython = "p"\nworking_directory = "."\n'
        f'[stores]\ntracking = "sqlite:///m.db"\n[watch]\n{line}\n'
    )
    with pytest.raises(UsageError, match=r"liftlock\.toml:?\d*: watch\."):
        Workspace.open(tmp_path / "liftlock.toml")
