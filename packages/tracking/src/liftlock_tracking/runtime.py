"""Per server and process: the spool, its sender, the breaker, and what is known about runs meanwhile."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Optional

from liftlock_tracking import settings as settings_module
from liftlock_tracking.background import Background
from liftlock_tracking.breaker import Breaker
from liftlock_tracking.limits import Limits
from liftlock_tracking.quiet import warn
from liftlock_tracking.replay import STOPPED
from liftlock_tracking.settings import SWITCHES, Settings
from liftlock_tracking.spool import Spool
from liftlock_tracking.state import State
from liftlock_tracking.views import Views
from liftlock_tracking.wire import Wire, credentials

MOST_UNBORN = 1000


class Runtime:
    """Everything behind one `liftlock+http(s)://` URI in this process. Nothing is opened before the first call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.spool = Spool(settings)
        self.state = State(settings.spool)
        self.breaker = Breaker()
        self.wire = Wire(partial(credentials, settings.uri), settings.request_timeout)
        self.limits = Limits(settings, self.spool)
        self.background = Background(self)
        self.runs = Views()
        self.experiments: dict[str, dict[str, Any]] = {}
        self.blobs: dict[str, dict[str, Path]] = {}
        self.calls = 0
        self._unborn: dict[str, dict[str, Any]] = {}
        self._regained = 0
        self._last_error = ""
        os.register_at_fork(after_in_child=self._after_fork)

    # --- taking calls ------------------------------------------------------------------------------------

    def append(self, call: dict[str, Any], *, urgent: bool = False) -> Optional[int]:
        """Keep a call; returns the position behind it, None if it could not be kept or policy dropped it."""
        self.calls += 1
        position = self._keep(call) if not self._unborn or self._born(call) else None
        if position is None and call["k"] != "b" and "p" in call:
            # A creation that found no room is tried again with the first call about it.
            self._unborn[call["p"]] = call
            while len(self._unborn) > MOST_UNBORN:
                self._unborn.pop(next(iter(self._unborn)))
        self.background.call(urgent=urgent)
        return position

    def _keep(self, call: dict[str, Any]) -> Optional[int]:
        return self.spool.append(call) if self.limits.room(call) else None

    def _born(self, call: dict[str, Any]) -> bool:
        """Whether what this call is about was kept, now at the latest."""
        body = call.get("body")
        for about in (call.get("r"), body.get("experiment_id") if isinstance(body, dict) else None):
            creation = self._unborn.get(str(about))
            if creation is not None:
                if not self._born(creation) or self._keep(creation) is None:
                    return False
                del self._unborn[str(about)]
                self._regained += 1
        return True

    @property
    def lost(self) -> int:
        """Calls and points that found no room: a full disk, or the policy at the cap."""
        return self.spool.lost + self.limits.dropped - self._regained

    def wait(self, position: Optional[int], seconds: float) -> bool:
        """Wait until what was appended before `position` arrived; not at all while the server is known to be away."""
        if position is None or self.breaker.open:
            return False
        self.background.call(urgent=True)
        return self.spool.wait(position, seconds)

    def wait_born(self, position: Optional[int], began: float) -> bool:
        """Wait for a creation, so that the call that began then (monotonic seconds) ends within the call bound."""
        # A fifth is left for what the interpreter does besides: its threads take turns of 5 ms.
        return self.wait(position, self.settings.call_bound * 0.8 - (time.monotonic() - began))

    def flush(self, seconds: float) -> bool:
        """Ship everything this process spooled, within `seconds`; says whether it all arrived."""
        if self.spool.pending() == 0:
            return True
        return self.wait(self.spool.written, seconds)

    # --- what the background found out -------------------------------------------------------------------

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
        self.background.call()

    def note_error(self, reason: str) -> None:
        """Keep the latest problem for `status`."""
        if reason != self._last_error:
            self._last_error = reason
            with suppress(sqlite3.Error, OSError):
                self.state.note("last error", reason)

    def finish(self) -> None:
        """At the interpreter's exit: ship what can be shipped within the bound; the rest stays for the next process."""
        if self.background.started and SWITCHES.tracking():
            deadline = time.monotonic() + self.settings.exit_bound
            if not self.flush(self.settings.exit_bound) and not self.breaker.open:
                warn(
                    "exit",
                    "liftlock-tracking: %d bytes of calls stay in %s; `liftlock-tracking ship` sends them",
                    self.spool.pending(),
                    self.settings.spool,
                )
            self.background.stop(min(0.2, deadline - time.monotonic()))
        if self.lost:
            with suppress(sqlite3.Error, OSError):
                self.state.add("calls lost", self.lost)
        self.spool.sync()
        if not self.background.alive:
            self.spool.close()

    def _after_fork(self) -> None:
        self.spool.after_fork()
        self.state.after_fork()
        self.background = Background(self)
        self.limits.dropped = self._regained = 0
        reason = self.breaker.reason
        self.breaker = Breaker()
        if reason:
            self.breaker.failed(reason)

    # --- what is known without asking --------------------------------------------------------------------

    def real_id(self, run_id: str) -> Optional[str]:
        """The server's id for an id of ours; the id itself if it is the server's; None if not known yet."""
        if not run_id.startswith(("lt", "lx")) or len(run_id) != 32:
            return run_id
        with suppress(sqlite3.Error, OSError):
            bound = self.state.bound(run_id)
            return bound[0] if bound else None
        return None


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
        "liftlock_tracking_lost_total": sum(r.lost for r in runtimes),
        "liftlock_tracking_requests_total": sum(r.wire.requests for r in runtimes),
        "liftlock_tracking_server_away": float(any(r.breaker.open for r in runtimes)),
    }
