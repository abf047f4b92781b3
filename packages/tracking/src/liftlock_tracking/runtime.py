"""Per server and process: the spool, the shipper thread, the breaker, and what is known about runs meanwhile."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional

from liftlock_tracking import settings as settings_module
from liftlock_tracking.breaker import Breaker
from liftlock_tracking.quiet import again, info, warn
from liftlock_tracking.records import Damage, Record
from liftlock_tracking.replay import STOPPED, Replay, Unbound
from liftlock_tracking.settings import SWITCHES, Settings
from liftlock_tracking.spool import Spool, adopt, read_window, segment_files
from liftlock_tracking.state import State
from liftlock_tracking.wire import Away, Unreachable, Wire

LINGER = 0.1
SYNC_EVERY = 0.05
ORPHANS_EVERY = 2.0
RECONCILE_EVERY = 15.0
KEPT_RUNS = 256


class RunView:
    """What this process knows about a run without asking: its description and what it logged itself."""

    __slots__ = ("info", "metrics", "params", "tags")

    def __init__(self, description: dict[str, Any], tags: dict[str, str]) -> None:
        self.info = description
        self.tags = tags
        self.params: dict[str, str] = {}
        self.metrics: dict[str, tuple[float, int, int]] = {}


class Shipper:
    """Drains windows: used by the background thread and by `liftlock-tracking ship`."""

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
        if self._spool.advance(segment, end):
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


class Runtime:
    """Everything behind one `liftlock+http(s)://` URI in this process. Nothing is opened before the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spool = Spool(settings)
        self.state = State(settings.spool)
        self.breaker = Breaker()
        self.wire = Wire(partial(_creds, settings.uri), settings.request_timeout)
        self.runs: OrderedDict[str, RunView] = OrderedDict()
        self.experiments: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, dict[str, Path]] = {}
        self.calls = 0
        self.slowest = 0.0
        self._threads: list[threading.Thread] = []
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._stop = False
        self._start_lock = threading.Lock()
        self._last_error = ""
        self._dropped = 0
        os.register_at_fork(after_in_child=self._after_fork)

    # --- taking calls ------------------------------------------------------------------------------------

    def append(self, call: dict[str, Any], *, urgent: bool = False) -> Optional[int]:
        """Keep a call; returns the position behind it, None if it could not be kept or policy dropped it."""
        self.calls += 1
        if self.spool.size() >= self.settings.cap and not self._room(call):
            return None
        position = self.spool.append(call)
        if not self._threads:
            self._start()
        if urgent:
            self._hurry.set()
        if not self._wake.is_set():
            self._wake.set()
        return position

    def _room(self, call: dict[str, Any]) -> bool:
        policy = self.settings.full
        size, cap = self.spool.size() >> 20, self.settings.cap >> 20
        if policy == "keep":
            warn(
                "cap",
                "liftlock-tracking: the spool holds %d MB, more than its cap of %d MB; everything is kept",
                size,
                cap,
            )
            return True
        if policy == "block":
            warn(
                "cap",
                "liftlock-tracking: the spool is full (%d MB); calls wait as LIFTLOCK_TRACKING_FULL=block asks",
                size,
            )
            while self.spool.size() >= self.settings.cap and SWITCHES.tracking():
                self.spool.wait(self.spool.shipped + 1, 1.0)
            return True
        metrics_only = call["k"] == "b" and "p" not in call and "t" not in call
        if policy == "drop-metrics" and not metrics_only:
            return True
        self._dropped += 1
        warn(
            "cap",
            "liftlock-tracking: the spool is full (%d MB); %d calls dropped (policy %s)",
            size,
            self._dropped,
            policy,
        )
        return False

    def wait(self, position: Optional[int], seconds: float) -> bool:
        """Wait until what was appended before `position` arrived; not at all while the server is known to be away."""
        if position is None or self.breaker.open:
            return False
        self.hurry()
        return self.spool.wait(position, seconds)

    def wait_born(self, position: Optional[int], began: float) -> bool:
        """Wait for a creation, so that the call that began then (monotonic seconds) ends within the call bound."""
        # A fifth is left for what the interpreter does besides: its threads take turns of 5 ms.
        return self.wait(position, self.settings.call_bound * 0.8 - (time.monotonic() - began))

    def hurry(self) -> None:
        """Somebody waits: do not linger."""
        self._hurry.set()
        self._wake.set()

    def flush(self, seconds: float) -> bool:
        """Ship everything this process spooled, within `seconds`; says whether it all arrived."""
        if self.spool.pending() == 0:
            return True
        return self.wait(self.spool.written, seconds)

    # --- the background ----------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._start_lock:
            if self._threads or self._stop:
                return
            self._threads = [
                threading.Thread(target=self._loop, name="liftlock-tracking-ship", daemon=True),
                threading.Thread(target=self._sync_loop, name="liftlock-tracking-sync", daemon=True),
            ]
            for thread in self._threads:
                thread.start()

    def _sync_loop(self) -> None:
        if self.settings.fsync != "group":
            return
        synced = 0
        while not self._stop:
            time.sleep(SYNC_EVERY)
            if self.spool.written != synced:
                synced = self.spool.written
                self.spool.sync()

    def _loop(self) -> None:
        shipper = Shipper(self.spool, self.state, self.wire, self.breaker, self._alive)
        looked = reconciled = -1e9
        while not self._stop:
            pause = self.breaker.wait()
            busy = self.spool.pending() > 0
            self._wake.wait(pause if pause and (busy or self.breaker.open) else ORPHANS_EVERY)
            if self._stop:
                return
            if self.spool.pending() and not self.breaker.open:
                # More calls are likely to follow: one request for all of them, unless somebody waits.
                self._hurry.wait(LINGER)
            self._wake.clear()
            self._hurry.clear()
            if not SWITCHES.tracking() or self.breaker.wait() > 0:
                if self.breaker.wait() > 0:
                    time.sleep(min(self.breaker.wait(), 0.05))
                continue
            try:
                now = time.monotonic()
                if now - looked > ORPHANS_EVERY:
                    # Before our own: a process that is gone did what it did before we started.
                    shipper.orphans()
                    looked = time.monotonic()
                while shipper.own() and not self._stop:
                    pass
                if self.breaker.open:
                    self._probe()
                if now - reconciled > RECONCILE_EVERY:
                    shipper.replay.reconcile()
                    reconciled = time.monotonic()
            except Unreachable as problem:
                self.away(problem.away.reason)
                looked = -1e9
            except Unbound as missing:
                self.note_error(f"waiting for the creation of {missing} by another process")
                time.sleep(0.05)
                self._wake.set()
            except (OSError, sqlite3.Error) as problem:
                warn("state", "liftlock-tracking: its spool cannot be read or marked (%s); trying again", problem)
                self.note_error(str(problem))
                time.sleep(0.5)
                self._wake.set()
            except Exception as problem:  # noqa: BLE001 - the shipper must outlive any one call; nothing is marked as arrived
                warn("bug", "liftlock-tracking: shipping failed (%r); trying again", problem)
                self.note_error(repr(problem))
                time.sleep(0.5)
                self._wake.set()

    def _probe(self) -> None:
        """Half-open with nothing to ship: ask something cheap, so that reading calls may go on."""
        answer = self.wire.call("GET", "/api/2.0/mlflow/experiments/get", {"experiment_id": "0"})
        if isinstance(answer, Away):
            raise Unreachable(answer)
        self.breaker.answered()

    def _alive(self) -> bool:
        return not self._stop and SWITCHES.tracking()

    def away(self, reason: str) -> None:
        """The server did not answer: open the breaker and say so, unless we stopped by ourselves."""
        if reason == STOPPED:
            return
        if self.breaker.failed(reason):
            warn(
                "away",
                "liftlock-tracking: the tracking server does not answer; calls are kept in %s (%s)",
                self.settings.spool,
                reason,
            )
        self.note_error(reason)
        if not self._threads:
            self._start()
        self._wake.set()

    def note_error(self, reason: str) -> None:
        """Keep the latest problem for `status`."""
        if reason != self._last_error:
            self._last_error = reason
            with suppress(sqlite3.Error, OSError):
                self.state.note("last error", reason)

    def finish(self) -> None:
        """At the interpreter's exit: ship what can be shipped within the bound; the rest stays for the next process."""
        if self._threads and SWITCHES.tracking():
            deadline = time.monotonic() + self.settings.exit_bound
            if not self.flush(self.settings.exit_bound) and not self.breaker.open:
                warn(
                    "exit",
                    "liftlock-tracking: %d bytes of calls stay in %s; `liftlock-tracking ship` sends them",
                    self.spool.pending(),
                    self.settings.spool,
                )
            self._stop = True
            self._wake.set()
            self._threads[0].join(max(0.0, min(0.2, deadline - time.monotonic())))
        if self.spool.lost or self._dropped:
            with suppress(sqlite3.Error, OSError):
                self.state.add("calls lost", self.spool.lost + self._dropped)
        self.spool.sync()
        if not (self._threads and self._threads[0].is_alive()):
            self.spool.close()

    def _after_fork(self) -> None:
        self.spool.after_fork()
        self.state.after_fork()
        self._threads = []
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._start_lock = threading.Lock()
        reason = self.breaker.reason
        self.breaker = Breaker()
        if reason:
            self.breaker.failed(reason)

    # --- what is known without asking --------------------------------------------------------------------

    def remember(self, run_id: str, view: RunView) -> None:
        """Keep a run's description for as long as it may be asked for without the server."""
        self.runs[run_id] = view
        while len(self.runs) > KEPT_RUNS:
            self.runs.popitem(last=False)

    def real_id(self, run_id: str) -> Optional[str]:
        """The server's id for an id of ours; the id itself if it is the server's; None if not known yet."""
        if not run_id.startswith(("lt", "lx")) or len(run_id) != 32:
            return run_id
        with suppress(sqlite3.Error, OSError):
            bound = self.state.bound(run_id)
            return bound[0] if bound else None
        return None


def _creds(uri: str) -> Any:
    """The release's own credentials for a server (environment, credential file, plugins)."""
    try:
        from mlflow.utils.credentials import get_default_host_creds
    except ImportError:
        from mlflow.tracking._tracking_service.utils import _get_default_host_creds as get_default_host_creds
    return get_default_host_creds(uri)


_runtimes: dict[str, Runtime] = {}
_lock = threading.Lock()


def runtime_for(store_uri: str) -> Runtime:
    """The runtime behind a URI, one per process and server."""
    with _lock:
        wanted = settings_module.load(store_uri)
        key = f"{wanted.spool}|{wanted.uri}"
        if key not in _runtimes:
            _runtimes[key] = Runtime(wanted)
        return _runtimes[key]


def finish() -> None:
    """At the interpreter's exit (see plugin.py): ship within the bound, leave the rest to the next process."""
    for runtime in _runtimes.values():
        runtime.finish()


def flush(seconds: float = 10.0) -> bool:
    """Ship everything this process spooled, to every server; says whether all of it arrived within `seconds`."""
    deadline = time.monotonic() + seconds
    done = [r.flush(max(0.0, deadline - time.monotonic())) for r in _runtimes.values()]
    return all(done)


def metrics() -> dict[str, float]:
    """Numbers for a monitoring system: calls taken, bytes waiting, calls lost, whether the server is away."""
    runtimes = list(_runtimes.values())
    return {
        "liftlock_tracking_calls_total": sum(r.calls for r in runtimes),
        "liftlock_tracking_pending_bytes": sum(r.spool.pending() for r in runtimes),
        "liftlock_tracking_lost_total": sum(r.spool.lost + r._dropped for r in runtimes),
        "liftlock_tracking_requests_total": sum(r.wire.requests for r in runtimes),
        "liftlock_tracking_server_away": float(any(r.breaker.open for r in runtimes)),
    }


def drain(settings: Settings, *, seconds: float) -> tuple[int, int, str]:
    """Ship what gone processes left for one server. Returns calls shipped, files left, and why it stopped (or '')."""
    deadline = time.monotonic() + seconds
    spool, state, breaker = Spool(settings), State(settings.spool), Breaker()
    shipper = Shipper(
        spool,
        state,
        Wire(partial(_creds, settings.uri), settings.request_timeout),
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
        shipper.replay.reconcile()
    except Unreachable as problem:
        reason = problem.away.reason
        with suppress(sqlite3.Error, OSError):
            state.note("last error", reason)
    return shipper.calls, len(segment_files(settings.spool)), reason


def owner_lives(path: Path) -> bool:
    """Whether the process that writes a spool file still runs."""
    descriptor = adopt(path)
    if descriptor is None:
        return path.exists()
    os.close(descriptor)
    return False
