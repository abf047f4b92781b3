"""`watch`: is the server worse than it was before its upgrade? From the gate's log, or by questions of our own.

What was counted is kept beside the run, so that a look from a schedule goes on where the last one ended, and a watch
that was killed loses nothing. The gate and its log are only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from liftlock import clock, files
from liftlock.app import upgrade
from liftlock.app.catalogue import current
from liftlock.app.notify import due, tell
from liftlock.app.watch_baseline import Baselines, count_connections
from liftlock.app.watch_log import LogReader, Place
from liftlock.app.watch_probe import Prober, health
from liftlock.app.watch_server import client_of, gate_directory
from liftlock.app.workspace import Workspace
from liftlock.describe.sections import WatchSection
from liftlock.effects import side_effect
from liftlock.engine.lock import exclusive, operator
from liftlock.errors import NeedsPerson, Refused
from liftlock.evidence import account
from liftlock.knowledge.fates import endpoints_of
from liftlock.model.codec import Value, from_json, to_builtins, to_json
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.journal import Kind, RunKind, RunOutcome, RunState
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.watch import Baseline, Traffic, Watch
from liftlock.notify.message import Event
from liftlock.verify.traffic import Tally, merged
from liftlock.verify.watch import Seen, judge

RESULT, STATE = "watch.json", "watch-state.json"
_PACE = 0.5
_NOTED = timedelta(hours=1)
_LOST = Finding(
    code="LLW009", title="access log", outcome=Outcome.UNKNOWN, severity=Severity.WARNING,
    message="lines were rotated away between two looks", hint="Look more often, or let the gate keep more.",
)  # fmt: skip


@dataclass(frozen=True)
class Options:
    """`seconds`: how long to watch (0: one look). `every`: seconds between looks. `probe`: ask questions of our own
    though a gate stands; without one they are always asked. `roll_back`: as in [watch], which it replaces when given.
    `probe_seconds`: how long one look asks them.
    """

    seconds: float = 0.0
    every: float = 10.0
    probe: bool = False
    roll_back: str | None = None
    probe_seconds: float = 30.0


class _Kept(Value, frozen=True):
    """What a watch has counted: since it began, and by minute for as far back as one look sees."""

    place: Place = Place()
    whole: Traffic = Traffic()
    minutes: dict[int, Traffic] = msgspec.field(default_factory=dict)
    gap: bool = False


@dataclass(frozen=True)
class _Scope:
    """What is watched: which upgrade (None: what runs since the baseline), against what, from when on, kept where."""

    run: RunState | None
    baseline: Baseline
    begins: datetime
    directory: Path


def watch(workspace: Workspace, options: Options, *, observer: Observer = silent) -> Watch:
    """Look once, or for a while; stop at what is to be acted on, and go back when that was asked for.

    Raises Refused without a baseline or while a run is open; NeedsPerson when going back was asked for and would leave
    writes behind; whatever `rollback` raises.
    """
    with exclusive(files.private_directory(workspace.state / "watch"), "watch"):
        found = _Watcher(workspace, options, observer).run()
    due(workspace, observer)
    return found


def watched_run(workspace: Workspace) -> RunState | None:
    """The upgrade whose server runs now, or None when the last one was taken back or there was none."""
    runs = [each for each in workspace.journal.runs() if each.kind is RunKind.UPGRADE]
    good = (RunOutcome.DONE, RunOutcome.FINALIZED)
    ended = [each for each in runs if each.outcome in (*good, RunOutcome.ROLLED_BACK)]
    return ended[-1] if ended and ended[-1].outcome in good else None


class _Watcher:
    def __init__(self, workspace: Workspace, options: Options, observer: Observer) -> None:
        self._workspace = workspace
        self._options = options
        self._observer = observer
        self._limits: WatchSection = workspace.config.watch
        _require_quiet(workspace)
        self._scope = _scope(workspace)
        self._directory = files.private_directory(self._scope.directory)
        kept = _read(self._directory / STATE, _Kept) or _Kept()
        self._gate = gate_directory(workspace)
        self._log = LogReader(self._gate, endpoints_of(current()[0]), kept.place) if self._gate else None
        self._whole = Tally(kept.whole)
        self._minutes = {minute: Tally(each) for minute, each in kept.minutes.items()}
        self._client = client_of(workspace)
        self._prober = Prober(self._client) if options.probe or self._gate is None else None
        self._last = _read(self._directory / RESULT, Watch)
        self._gap = kept.gap

    def run(self) -> Watch:
        began = clock.monotonic()
        length = self._options.seconds
        if (left := (self._scope.begins - clock.now()).total_seconds()) > 0:
            self._observer(Progress(work=f"what the server does in the next {left:.0f} s does not count: it settles"))
        if self._prober is not None:
            self._ask(self._options.probe_seconds if not length else min(self._options.every, length))
        while True:
            found = self._look()
            passed = clock.monotonic() - began
            if found.breached_at is not None:
                return self._act(found)
            if passed >= length or self._workspace.journal.open_run() is not None:
                return self._end(found)
            self._observer(Progress(work=_line(found), done=passed, total=length))
            self._ask(min(self._options.every, length - passed))

    def _ask(self, seconds: float) -> None:
        """Let time pass, with questions of our own where they are wanted."""
        ends = clock.monotonic() + seconds
        while (left := ends - clock.monotonic()) > 0:
            if self._prober is not None:
                tally = Tally()
                self._prober.round(tally)
                self._count(tally.traffic())
                left = ends - clock.monotonic()
            clock.sleep(max(0.0, min(left, _PACE if self._prober is not None else left)))

    def _count(self, traffic: Traffic) -> None:
        if traffic.first < self._scope.begins.timestamp() * 1000:
            return
        self._whole.join(traffic)
        self._minutes.setdefault(traffic.last // 60_000, Tally()).join(traffic)

    def _look(self) -> Watch:
        """Read on, judge, and keep what was found."""
        begins = self._scope.begins.timestamp() * 1000
        for endpoint, line in self._log.read() if self._log is not None else ():
            if line.at >= begins:
                for tally in (self._whole, self._minutes.setdefault(line.at // 60_000, Tally())):
                    tally.add(endpoint, line.status, line.us - line.held, line.at)
        now = clock.now()
        oldest = (now.timestamp() - self._limits.window) // 60
        self._minutes = {minute: each for minute, each in self._minutes.items() if minute >= oldest}
        whole = self._whole.traffic()
        recent = merged(each.traffic() for each in self._minutes.values())
        seen = Seen(whole, health(self._client), count_connections(self._workspace))
        self._gap = self._gap or bool(self._log and self._log.gap)
        findings = (*self._judge(seen), *([_LOST] if self._gap else []))
        lately = tuple(each for each in self._judge(Seen(recent, seen.health)) if each.outcome is Outcome.FAIL)
        bad = any(each.severity is Severity.ERROR for each in lately)
        last = self._last
        # what was found before the window says nothing of now
        if last is not None and (now - last.until).total_seconds() > self._limits.window:
            last = msgspec.structs.replace(last, breaching=0, breached_at=None)
        breaching = (last.breaching if last else 0) + 1 if bad else 0
        breached_at = None
        if breaching >= self._limits.breaches:
            breached_at = (last.breached_at if last else None) or now
        found = Watch(
            run=self._scope.run.id if self._scope.run else "", release=self._workspace.config.server.release,
            by=operator(), began_at=min(self._scope.begins, now), until=now, requests=whole.requests,
            findings=findings, recent=lately, looks=(last.looks if last else 0) + 1, breaching=breaching,
            breached_at=breached_at,
        )  # fmt: skip
        self._keep(found, whole)
        return found

    def _judge(self, seen: Seen) -> tuple[Finding, ...]:
        baseline = self._scope.baseline
        return judge(baseline.traffic, seen, self._limits, connections=baseline.connections)

    def _keep(self, found: Watch, whole: Traffic) -> None:
        minutes = {minute: each.traffic() for minute, each in self._minutes.items()}
        kept = _Kept(
            place=self._log.place if self._log is not None else Place(), whole=whole, minutes=minutes, gap=self._gap
        )
        with side_effect("keep watch"):
            files.write_atomic(self._directory / STATE, to_json(kept))
            files.write_atomic(self._directory / RESULT, to_json(found, indent=2))
        self._last = found

    def _end(self, found: Watch) -> Watch:
        self._note(found, always=self._options.seconds > 0)
        return found

    def _note(self, found: Watch, *, always: bool) -> None:
        """Put the result into the journal; a look from a schedule only once an hour, or when it says something else."""
        run = self._scope.run
        if run is None:
            return
        before = account.watched(self._workspace.journal.entries(run.id))
        same = before is not None and _outcomes(before) == _outcomes(found)
        if always or before is None or not same or found.until - before.until >= _NOTED:
            self._workspace.journal.append(run.id, Kind.NOTE, account.WATCH_NOTE, to_builtins(found))

    def _act(self, found: Watch) -> Watch:
        """Tell, and go back where that was asked for."""
        self._note(found, always=self._options.seconds > 0)
        said = "; ".join(f"{each.title}: {each.message}" for each in found.recent)
        run = self._scope.run
        if found.breached_at == found.until:  # a look later it has been told already
            text = f"MLflow {found.release}: {said}"
            tell(self._workspace, Event.BREACH, text, run=found.run, observer=self._observer)
        wanted = self._options.roll_back or self._limits.roll_back
        if wanted == "never" or run is None or run.outcome is not RunOutcome.DONE:
            return found
        _, since = upgrade.preview_rollback(self._workspace)
        if wanted != "always" and not since.none and not since.carried:
            raise NeedsPerson(
                f"{said}; but going back would leave what was written since in a backup ({len(since.tables)} tables)",
                hint="Decide, then run `liftlock rollback`. `--roll-back=always` goes back in spite of it.",
            )
        self._observer(Progress(work=f"roll back: {said}"))
        done = upgrade.rollback(self._workspace, observer=self._observer)
        found = msgspec.structs.replace(found, rolled_back=done.run)
        with side_effect("keep watch"):
            files.write_atomic(self._directory / RESULT, to_json(found, indent=2))
        self._note(found, always=True)
        return found


def _scope(workspace: Workspace) -> _Scope:
    """What to watch. Raises Refused when nothing is known of before."""
    known = Baselines(workspace)
    said, run = known.said(), watched_run(workspace)
    settle = timedelta(seconds=workspace.config.watch.settle)
    if said is not None and (run is None or said.taken_at >= run.started_at):
        # what a release that was taken back did since the baseline says nothing of the one that runs again
        others = (each for each in workspace.journal.runs() if each.kind is not RunKind.REHEARSAL)
        changed = [each.ended_at + settle for each in others if each.ended_at is not None]
        begins = max([said.taken_at, *changed])
        return _Scope(None, said, begins, workspace.state / "watch" / f"{begins:%Y%m%dT%H%M%S%f}")
    if run is not None and (before := known.of(run)) is not None:
        ended = account.ended_at(workspace.journal.entries(run.id)) or clock.now()
        return _Scope(run, before, ended + settle, workspace.run_directory(run))
    raise Refused(
        "nothing is known of how the server was before, so nothing can be compared",
        hint="Take a baseline before the next upgrade: liftlock watch --baseline",
    )


def _require_quiet(workspace: Workspace) -> None:
    open_run = workspace.journal.open_run()
    if open_run is not None:
        raise Refused(f"{open_run.kind} {open_run.id} has not ended, so there is nothing to watch yet")


def _outcomes(found: Watch) -> tuple[bool, list[tuple[str, str, str]]]:
    answers = [(each.code, each.title, each.outcome.value) for each in found.findings]
    return found.breached_at is not None, answers


def _line(found: Watch) -> str:
    """What a look says while the watch goes on: the same words again and again, so that it stays one line."""
    worse = ", ".join(each.title for each in found.recent)
    return f"watch MLflow {found.release}" + (f": worse of late: {worse}" if worse else "")


def _read(path: Path, kind: Any) -> Any:
    """A file of ours; None when it is not there or a newer one wrote it otherwise: then counting begins anew."""
    try:
        return from_json(path.read_bytes(), kind)
    except (FileNotFoundError, ValueError):
        return None
