"""The two threads behind a runtime: one ships, one flushes to the disk. They begin with the first call."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from liftlock_tracking.creations import reconcile
from liftlock_tracking.quiet import warn
from liftlock_tracking.replay import Unbound
from liftlock_tracking.settings import SWITCHES
from liftlock_tracking.shedding import shed
from liftlock_tracking.shipper import Shipper
from liftlock_tracking.wire import Away, Unreachable

if TYPE_CHECKING:
    from liftlock_tracking.runtime import Runtime

LINGER = 0.1
SYNC_EVERY = 0.05
ORPHANS_EVERY = 2.0
RECONCILE_EVERY = 15.0


class Background:
    """Ships and flushes for one runtime until `stop`; a forked child makes one of its own."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._threads: list[threading.Thread] = []
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._start_lock = threading.Lock()

    @property
    def started(self) -> bool:
        """Whether there ever was anything to do."""
        return bool(self._threads)

    @property
    def alive(self) -> bool:
        """Whether the shipping thread may still touch the spool."""
        return bool(self._threads) and self._threads[0].is_alive()

    def call(self, *, urgent: bool = False) -> None:
        """There is something to do; `urgent` when somebody waits for it."""
        if not self._threads:
            self._start()
        if urgent:
            self._hurry.set()
        if not self._wake.is_set():
            self._wake.set()

    def stop(self, seconds: float) -> None:
        """Let the threads end; wait for the shipping one that long."""
        self._stop.set()
        self._wake.set()
        self._threads[0].join(max(0.0, seconds))

    def may_go_on(self) -> bool:
        """Asked by the shipper between requests."""
        return not self._stop.is_set() and SWITCHES.tracking()

    def _start(self) -> None:
        with self._start_lock:
            if self._threads or self._stop.is_set():
                return
            self._threads = [
                threading.Thread(target=self._loop, name="liftlock-tracking-ship", daemon=True),
                threading.Thread(target=self._sync_loop, name="liftlock-tracking-sync", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def _sync_loop(self) -> None:
        runtime = self._runtime
        if runtime.settings.fsync != "group":
            return
        synced = 0
        while not self._stop.is_set():
            time.sleep(SYNC_EVERY)
            if runtime.spool.written != synced:
                synced = runtime.spool.written
                runtime.spool.sync()

    def _loop(self) -> None:
        runtime = self._runtime
        shipper = Shipper(runtime.spool, runtime.state, runtime.wire, runtime.breaker, self.may_go_on)
        looked = reconciled = -1e9
        while not self._stop.is_set():
            pause = runtime.breaker.wait()
            busy = runtime.spool.pending() > 0
            self._wake.wait(pause if pause and (busy or runtime.breaker.open) else ORPHANS_EVERY)
            if self._stop.is_set():
                return
            if runtime.spool.pending() and not runtime.breaker.open:
                # More calls are likely to follow: one request for all of them, unless somebody waits.
                self._hurry.wait(LINGER)
            self._wake.clear()
            self._hurry.clear()
            self._shed()
            if not SWITCHES.tracking() or runtime.breaker.wait() > 0:
                if runtime.breaker.wait() > 0:
                    time.sleep(min(runtime.breaker.wait(), 0.05))
                continue
            try:
                now = time.monotonic()
                if now - looked > ORPHANS_EVERY:
                    # Before our own: a process that is gone did what it did before we started.
                    shipper.orphans()
                    looked = time.monotonic()
                while shipper.own() and not self._stop.is_set():
                    self._shed()
                if runtime.breaker.open:
                    self._probe()
                if now - reconciled > RECONCILE_EVERY:
                    reconcile(shipper.replay)
                    reconciled = time.monotonic()
            except Unreachable as problem:
                runtime.away(problem.away.reason)
                looked = -1e9
            except Unbound as missing:
                runtime.note_error(f"waiting for the creation of {missing} by another process")
                time.sleep(0.05)
                self._wake.set()
            except (OSError, sqlite3.Error) as problem:
                warn("state", "liftlock-tracking: its spool cannot be read or marked (%s); trying again", problem)
                runtime.note_error(str(problem))
                time.sleep(0.5)
                self._wake.set()
            except Exception as problem:  # noqa: BLE001 - the shipper must outlive any one call; nothing is marked as arrived
                warn("bug", "liftlock-tracking: shipping failed (%r); trying again", problem)
                runtime.note_error(repr(problem))
                time.sleep(0.5)
                self._wake.set()

    def _shed(self) -> None:
        """Drop the oldest points if the spool is full and that is its policy."""
        runtime = self._runtime
        if excess := runtime.limits.excess():
            try:
                runtime.limits.shed(shed(runtime.spool, runtime.state, excess))
            except (OSError, sqlite3.Error) as problem:
                warn("shed", "liftlock-tracking: old points cannot be dropped: %s", problem)
                runtime.limits.shed(0)

    def _probe(self) -> None:
        """Half-open with nothing to ship: ask something cheap, so that reading calls may go on."""
        runtime = self._runtime
        answer = runtime.wire.call("GET", "/api/2.0/mlflow/experiments/get", {"experiment_id": "0"})
        if isinstance(answer, Away):
            raise Unreachable(answer)
        runtime.breaker.answered()
