"""How the server was before: noted by itself when an upgrade begins, from the gate's log, or when somebody asks."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from liftlock import clock, files
from liftlock.app.catalogue import current
from liftlock.app.watch_log import LogReader
from liftlock.app.watch_probe import OWN, Prober
from liftlock.app.watch_server import client_of, gate_directory
from liftlock.app.workspace import Workspace
from liftlock.effects import side_effect
from liftlock.engine.lock import operator
from liftlock.errors import LiftlockError, Refused
from liftlock.knowledge.fates import endpoints_of
from liftlock.model.codec import from_json, to_json
from liftlock.model.journal import RunState
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.uri import Engine
from liftlock.model.watch import Baseline, Traffic
from liftlock.verify.traffic import Tally, merged
from liftlock.verify.watch import Connections

FILE = "watch-baseline.json"
_DAY = timedelta(hours=24)
_ENOUGH = 200_000
_PACE = 0.5
_CONNECTIONS = """
SELECT count(*) FILTER (WHERE datname = current_database() AND pid <> pg_backend_pid()) AS now, count(*) AS total,
  CAST(current_setting('max_connections') AS integer) AS most
FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend'
"""


class Baselines:
    """The baselines of one deployment."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def said(self) -> Baseline | None:
        """The last one that somebody asked for, or None."""
        return _read(self._workspace.config.state_directory / "watch" / FILE)

    def of(self, run: RunState) -> Baseline | None:
        """That of an upgrade: noted as it began, else from what the log still has of before, else one taken before."""
        noted = _read(self._workspace.run_directory(run) / FILE)
        if noted is not None:
            return noted
        found = self._before(run.started_at, str(run.payload.get("from", "")))
        said = self.said()
        return found if found.traffic.requests else said if said and said.taken_at < run.started_at else None

    def note(self, run: RunState) -> None:
        """Note it for an upgrade that begins. Never raises: an upgrade does not fail for want of a baseline."""
        try:
            found = self._before(run.started_at, self._workspace.config.server.release)
            if found.traffic.requests:
                _write(self._workspace.run_directory(run) / FILE, found)
        except (LiftlockError, OSError):
            return

    def take(self, *, seconds: float, observer: Observer = silent) -> Baseline:
        """Note what the log has, ask questions for some seconds, and keep it. Raises Refused when nothing answers."""
        workspace = self._workspace
        tally = Tally()
        prober = Prober(client_of(workspace))
        began = clock.monotonic()
        while True:
            prober.round(tally)
            passed = clock.monotonic() - began
            observer(Progress(work="ask the server", done=min(passed, seconds), total=seconds))
            if passed >= seconds:
                break
            clock.sleep(min(_PACE, seconds - passed))
        asked = tally.traffic()
        if asked.failed == asked.requests:
            raise Refused("the server answered none of the questions", hint="See `liftlock check`.")
        logged = self._logged(clock.now())
        found = Baseline(
            release=workspace.config.server.release, taken_at=clock.now(), by=operator(),
            source="the gate's log and questions" if logged.requests else "questions",
            traffic=merged((logged, asked)), connections=_numbers(workspace),
        )  # fmt: skip
        _write(files.private_directory(workspace.state / "watch") / FILE, found)
        return found

    def _before(self, moment: datetime, release: str) -> Baseline:
        """From the log, with the questions of a baseline somebody took within a day before."""
        parts = [self._logged(moment)]
        said = self.said()
        if said is not None and moment - _DAY < said.taken_at < moment:
            asked = {key: value for key, value in said.traffic.durations.items() if key.startswith(OWN)}
            parts.append(Traffic(durations=asked))
        return Baseline(
            release=release, taken_at=moment, by=operator(), source="the gate's log", traffic=merged(parts),
            connections=_numbers(self._workspace),
        )  # fmt: skip

    def _logged(self, moment: datetime) -> Traffic:
        """The requests of the day before a moment, or the last of them."""
        place = gate_directory(self._workspace)
        if place is None:
            return Traffic()
        first, last = (moment - _DAY).timestamp() * 1000, moment.timestamp() * 1000
        tally = Tally()
        for endpoint, line in LogReader(place, endpoints_of(current()[0])).newest(_ENOUGH):
            if first <= line.at < last:
                tally.add(endpoint, line.status, line.us - line.held, line.at)
        return tally.traffic()


def count_connections(workspace: Workspace) -> dict[str, Connections | str | None]:
    """Client connections by database; a text where it could not be asked, None for a file."""
    found: dict[str, Connections | str | None] = {}
    for role, store in workspace.stores.items():
        if store.uri.engine is not Engine.POSTGRESQL:
            found[role.value] = None
            continue
        try:
            row = next(iter(store.rows(_CONNECTIONS)))
        except LiftlockError as error:
            found[role.value] = error.message
        else:
            found[role.value] = Connections(now=int(row["now"]), all=int(row["total"]), most=int(row["most"]))
    return found


def _numbers(workspace: Workspace) -> dict[str, int]:
    return {name: each.now for name, each in count_connections(workspace).items() if isinstance(each, Connections)}


def _read(path: Path) -> Baseline | None:
    try:
        return from_json(path.read_bytes(), Baseline)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise Refused(
            f"{path} is damaged: {error}", hint="Move it away; take a baseline before the next upgrade."
        ) from error


def _write(path: Path, baseline: Baseline) -> None:
    with side_effect("keep baseline"):
        files.write_atomic(path, to_json(baseline))
