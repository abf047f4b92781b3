"""Drains windows of the spool: used by the background thread and by `liftlock-tracking ship`."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Callable

from liftlock_tracking.breaker import Breaker
from liftlock_tracking.creations import reconcile
from liftlock_tracking.quiet import again, info, warn
from liftlock_tracking.records import Damage, Record
from liftlock_tracking.replay import Replay, Unbound
from liftlock_tracking.segments import read_window, segment_files
from liftlock_tracking.settings import Settings
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State
from liftlock_tracking.wire import Unreachable, Wire, credentials


class Shipper:
    """Ships this process's own calls and those of processes that are gone."""

    def __init__(self, spool: Spool, state: State, wire: Wire, breaker: Breaker, alive: Callable[[], bool]) -> None:
        self._spool = spool
        self._state = state
        self._wire = wire
        self._breaker = breaker
        self.replay = Replay(wire, state, alive)
        self._stuck: dict[str, int] = {}
        self.calls = 0
        self.waits_for = ""

    def own(self) -> bool:
        """Ship the next window of this process's calls; says whether there was one. Raises Unreachable, Unbound."""
        window = self._spool.window()
        if window is None:
            return False
        segment, good, bad, end = window
        name = segment.path.name
        self._window(name, segment.shipped, good, bad)
        if self._spool.advance(segment, end, sum(record.call.get("size", 0) for record in good)):
            self._state.forget(name)
        else:
            self._state.mark(name, end)
        return True

    def orphans(self) -> int:
        """Ship what processes that are gone left behind; says how many calls. Raises Unreachable, Unbound."""
        before = self.calls
        self.waits_for = ""
        for path, descriptor in self._spool.orphans():
            try:
                self._orphan(path, descriptor)
            except Unbound as missing:
                # Its run is created by a process still running, perhaps by this one: come back later.
                self.waits_for = str(missing)
        return self.calls - before

    def _orphan(self, path: Path, descriptor: int) -> None:
        offset = self._state.marked(path.name)
        size = os.fstat(descriptor).st_size
        while offset < size:
            good, bad, end = read_window(descriptor, offset, size, complete=True)
            self._window(path.name, offset, good, bad)
            self._state.mark(path.name, end)
            offset = end
        path.unlink(missing_ok=True)
        self._state.forget(path.name)

    def _window(self, name: str, offset: int, good: list[Record], bad: list[Damage]) -> None:
        for damage in bad:
            self._quarantine(name, damage)
        if good:
            before = self._state.take_off(name, offset)
            while True:
                try:
                    self.replay.ship(name, good, before=before)
                    break
                except Unreachable as problem:
                    if not (problem.away.busy and self._poisoned(name, offset)):
                        raise
                    self._one_by_one(name, good, before)
                    break
                except Unbound as missing:
                    if self._made_here(str(missing)):
                        raise
                    self.replay.foreign(str(missing))
        self.calls += len(good)
        if self._breaker.answered():
            again("away")
            info("liftlock-tracking: the tracking server answers again; shipping what was kept")

    def _poisoned(self, name: str, offset: int) -> bool:
        """Whether a window failed with 500 often while the server answers other questions well."""
        key = f"{name}:{offset}"
        self._stuck[key] = self._stuck.get(key, 0) + 1
        if self._stuck[key] < 8:
            return False
        probe = self._wire.call("POST", "/api/2.0/mlflow/experiments/search", {"max_results": 1})
        return type(probe).__name__ == "Reply"

    def _one_by_one(self, name: str, good: list[Record], before: int) -> None:
        """The server answers, but never to something in this window: send each call alone, set aside what fails."""
        for record in good:
            try:
                self.replay.ship(name, [record], before=before)
            except Unreachable as problem:
                if not problem.away.busy:
                    raise
                self._state.reject(f"{name}:{record.start}", record.call.get("r", ""), record.call, problem.away.reason)

    def _quarantine(self, name: str, damage: Damage) -> None:
        folder = self._spool.folder / "quarantine"
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / f"{name}-{damage.start}.bin"
        if not target.exists():
            descriptor = os.open(target, os.O_CREAT | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(damage.raw)
            self._state.add("damaged bytes", len(damage.raw))
            warn("damage", "liftlock-tracking set aside %d damaged bytes of its spool in %s", len(damage.raw), target)

    def _made_here(self, prov: str) -> bool:
        """Whether a file of this spool that is not shipped yet creates this id (or it has just been bound)."""
        needle = f'"p":"{prov}"'.encode()
        for path in segment_files(self._spool.folder):
            with suppress(OSError):
                if needle in path.read_bytes():
                    return True
        return self._state.bound(prov) is not None


def drain(settings: Settings, *, seconds: float) -> tuple[int, int, str]:
    """Ship what gone processes left for one server. Returns calls shipped, files left, and why it stopped (or '')."""
    deadline = time.monotonic() + seconds
    spool, state, breaker = Spool(settings), State(settings.spool), Breaker()
    shipper = Shipper(
        spool,
        state,
        Wire(partial(credentials, settings.uri), settings.request_timeout),
        breaker,
        lambda: time.monotonic() < deadline,
    )
    reason = ""
    try:
        while True:
            shipper.orphans()
            if not shipper.waits_for:
                break
            if time.monotonic() > deadline:
                reason = f"waiting for the creation of {shipper.waits_for}, which a process still running keeps"
                break
            time.sleep(0.1)
        reconcile(shipper.replay)
    except Unreachable as problem:
        reason = problem.away.reason
        with suppress(sqlite3.Error, OSError):
            state.note("last error", reason)
    return shipper.calls, len(segment_files(settings.spool)), reason
