"""Environments in phases: a release goes where those before it have proven it, and where people have approved it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from liftlock import clock, files
from liftlock.app.notify import tell
from liftlock.app.workspace import Workspace
from liftlock.describe.config import Config
from liftlock.describe.sections import EarlierSection, EnvironmentsSection
from liftlock.effects import side_effect
from liftlock.engine.lock import operator
from liftlock.errors import JournalError, LiftlockError, Refused, UsageError
from liftlock.evidence import account, bundle, proofs, signing
from liftlock.model.codec import from_json, to_builtins, to_json
from liftlock.model.evidence import CommandResult, Decision, DecisionKind
from liftlock.model.finding import Finding, Outcome, blocking
from liftlock.model.journal import RunKind, RunOutcome
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Release
from liftlock.model.watch import Watch
from liftlock.notify.message import Event

_GOOD = (RunOutcome.DONE.value, RunOutcome.FINALIZED.value)


@dataclass(frozen=True)
class Seen:
    """How an upgrade went in an earlier environment. `wanted` names the checks that must have been run after it,
    `watch` is what its watch came to.
    """

    outcome: str
    ended_at: datetime
    verification: tuple[Finding, ...]
    proofs: tuple[CommandResult, ...]
    wanted: tuple[str, ...]
    watch: Watch | None


class Ledger:
    """What people decided, in `.liftlock/decisions`: one file each, never changed. The journal keeps what was used."""

    def __init__(self, state_directory: Path) -> None:
        self._directory = state_directory / "decisions"

    def add(self, decision: Decision) -> Decision:
        """Write one decision durably."""
        files.private_directory(self._directory)
        with side_effect("record decision"):
            name = f"{decision.at:%Y%m%dT%H%M%S%f}-{decision.kind.value}-{uuid.uuid4().hex[:8]}.json"
            files.write_atomic(self._directory / name, to_json(decision, indent=2))
        return decision

    def all(self) -> tuple[Decision, ...]:
        """Every decision, oldest first. Raises Refused, naming the file, for one that is damaged."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(from_json(path.read_bytes(), Decision))
            except ValueError as error:
                raise Refused(f"{path} is damaged: {error}", hint="Move it away and decide again.") from error
        return tuple(sorted(found, key=lambda each: each.at))


def decide(
    workspace: Workspace, kind: DecisionKind, *, release: Release | None = None, by: str = "", reason: str = "",
    until: datetime | None = None,
) -> Decision:  # fmt: skip
    """Record a decision of this user, or of the person named, recorded by this user. Raises UsageError."""
    section = _section(workspace.config)
    reason = " ".join(reason.split())
    if kind is not DecisionKind.THAW and kind is not DecisionKind.APPROVE and not reason:
        raise UsageError(f"{kind.value} needs a reason", hint='Give it with --reason "...".')
    who = f"{' '.join(by.split())}, recorded by {operator()}" if by.strip() else operator()
    made = Ledger(workspace.state).add(
        Decision(
            kind=kind, environment=section.name, release=release.version if release else "", by=who, at=clock.now(),
            reason=reason, until=until,
        )
    )  # fmt: skip
    if kind in (DecisionKind.FREEZE, DecisionKind.THAW):
        ends = f" until {until:%Y-%m-%d %H:%M} UTC" if until else ""
        tell(workspace, Event.FREEZE, f"{section.name}: {kind.value}{ends}: {reason or 'no reason given'}")
    return made


def gate(workspace: Workspace, release: Release) -> tuple[Finding, ...]:
    """Whether this release may go into this environment now, question by question. Changes nothing.

    Empty without an [environments] section. Raises UsageError when the section does not fit.
    """
    section = workspace.config.environments
    if section is None:
        return ()
    decisions = _current(workspace, release)
    found = [_frozen(section, Ledger(workspace.config.state_directory).all(), clock.now())]
    for earlier in section.after:
        found += _earlier(workspace.config, earlier, release, clock.now())
    approved = sorted({each.by for each in decisions if each.kind is DecisionKind.APPROVE})
    if section.approvals:
        lacking = section.approvals - len(approved)
        found.append(
            _finding(
                "LLP005", "approvals",
                f"{len(approved)} of {section.approvals}" if lacking > 0 else "", good=f"by {', '.join(approved)}",
                hint=f"Another person runs: liftlock environments approve --to {release}",
            )
        )  # fmt: skip
    return tuple(found)


def enter(workspace: Workspace, release: Release, observer: Observer = silent) -> dict[str, Any]:
    """Open the gate for an upgrade and tell that it begins: for the journal, the decisions it rests on, what was asked.

    Raises Refused when the gate is shut and nobody has gone past it with a reason since the last attempt.
    """
    section = workspace.config.environments
    found = gate(workspace, release)
    decisions = _current(workspace, release) if section else ()
    stops = blocking(found)
    past = [each for each in decisions if each.kind is DecisionKind.OVERRIDE]
    if section and stops and not past:
        more = f" (and {len(stops) - 1} more)" if len(stops) > 1 else ""
        raise Refused(
            f"the gate of {section.name} is shut for MLflow {release}: {stops[0].title}: {stops[0].message}{more}",
            hint=f"See `liftlock environments status --to {release}`; to go past it: "
            f'liftlock environments override --to {release} --reason "..."',
        )
    because = f", past a shut gate: {past[-1].reason} ({past[-1].by})" if stops and past else ""
    told = tell(workspace, Event.STARTED, f"the upgrade to MLflow {release} begins{because}", observer=observer)
    entered: dict[str, Any] = {"told": to_builtins(told)} if told else {}
    if section:
        entered |= {"environment": section.name, "decisions": to_builtins(decisions), "findings": to_builtins(found)}
    return entered


def _section(config: Config) -> EnvironmentsSection:
    if config.environments is None:
        raise UsageError(
            f"{config.path} has no [environments] section", hint='Add one: [environments] with name = "prod".'
        )
    return config.environments


def _current(workspace: Workspace, release: Release) -> tuple[Decision, ...]:
    """Approvals and overrides of this release that no attempt has used yet: each counts for one."""
    begun = [
        state.started_at
        for state in workspace.journal.runs()
        if state.kind is RunKind.UPGRADE and state.payload.get("to") == release.version
    ]
    since = max(begun, default=None)
    return tuple(
        each
        for each in Ledger(workspace.config.state_directory).all()
        if each.release == release.version and (since is None or each.at > since)
    )


def _frozen(section: EnvironmentsSection, decisions: Sequence[Decision], now: datetime) -> Finding:
    last = next((each for each in reversed(decisions) if each.kind in (DecisionKind.FREEZE, DecisionKind.THAW)), None)
    problem = ""
    if last is not None and last.kind is DecisionKind.FREEZE and (last.until is None or now < last.until):
        ends = f" until {last.until:%Y-%m-%d %H:%M} UTC" if last.until else ""
        problem = f"{section.name} is frozen{ends} by {last.by}: {last.reason}"
    return _finding("LLP001", "freeze", problem, good="not frozen", hint="It ends with: liftlock environments thaw")


def _earlier(config: Config, earlier: EarlierSection, release: Release, now: datetime) -> list[Finding]:
    try:
        seen = _by_config(config, earlier, release) if earlier.config else _by_evidence(config, earlier, release)
    except UsageError:
        raise
    except LiftlockError as error:
        return [
            Finding(
                code="LLP002", title=earlier.name, outcome=Outcome.UNKNOWN, message=error.message, hint=error.hint
            )
        ]  # fmt: skip
    if isinstance(seen, str):
        return [_finding("LLP002", earlier.name, seen)]
    ripe = seen.ended_at + timedelta(hours=earlier.soak_hours)
    soaking = f"{earlier.soak_hours:g} hours are over at {ripe:%Y-%m-%d %H:%M} UTC" if now < ripe else ""
    bad = blocking(seen.verification)
    results = {each.name: each for each in seen.proofs if each.when == "after"}
    wrong = [f"{name} was not run" for name in seen.wanted if name not in results]
    wrong += [f"{name}: {each.outcome.value}" for name, each in results.items() if each.outcome is not Outcome.PASS]
    watched = [_watched(earlier, seen.watch)] if earlier.watch_hours else []
    verified = "" if seen.verification and not bad else bad[0].message if bad else "nothing was verified"
    return [
        _finding(
            "LLP002", f"{earlier.name}: soak", soaking,
            good=f"MLflow {release} since {seen.ended_at:%Y-%m-%d %H:%M} UTC", hint="Wait, and watch it.",
        ),
        _finding("LLP003", f"{earlier.name}: verification", verified, good=f"{len(seen.verification)} answers"),
        _finding(
            "LLP004", f"{earlier.name}: proofs", "; ".join(wrong), good=f"{len(results)} passed",
            hint="Run `liftlock evidence record --checklist` there.",
        ),
        *watched,
    ]  # fmt: skip


def _watched(earlier: EarlierSection, watch: Watch | None) -> Finding:
    """Green, and long enough: nothing to act on, and nothing unknown that must be known."""
    bad = blocking(watch.findings) if watch else ()
    if watch is None:
        problem = "nobody watched it"
    elif watch.breached or bad:
        problem = "it found something" + (f": {bad[0].title}: {bad[0].message}" if bad else " to act on")
    elif watch.hours < earlier.watch_hours:
        problem = f"watched for {watch.hours:.1f} of {earlier.watch_hours:g} hours"
    else:
        problem = ""
    good = f"{watch.requests} requests in {watch.hours:.1f} hours" if watch else ""
    return _finding(
        "LLP006", f"{earlier.name}: watch", problem, good=good,
        hint=f"There: liftlock watch --for {earlier.watch_hours:g}h",
    )  # fmt: skip


def _by_config(config: Config, earlier: EarlierSection, release: Release) -> Seen | str:
    """From the other deployment's own journal on this machine; a text says why it has not proven the release."""
    place = config.directory / Path(str(earlier.config)).expanduser()
    other = Workspace.open(place)
    other.journal.verify()
    runs = [
        state
        for state in other.journal.runs()
        if state.kind is RunKind.UPGRADE and state.payload.get("to") == release.version
    ]
    if not runs or runs[-1].outcome.value not in _GOOD or other.config.release != release:
        how = f"the upgrade there: {runs[-1].outcome.value}" if runs else "no upgrade to it was made there"
        return f"it runs MLflow {other.config.release}, not {release} ({how})"
    state = runs[-1]
    entries = other.journal.entries(state.id)
    ended = next(entry.at for entry in entries if entry.payload.get("outcome") == RunOutcome.DONE.value)
    checks = other.config.tracking.checks if other.config.tracking else ()
    kept = proofs.Proofs(other.config.state_directory / "proofs").all()
    return Seen(
        outcome=state.outcome.value, ended_at=ended, verification=account.verification(entries),
        proofs=proofs.around(kept, state.started_at, ended), wanted=tuple(each.name for each in checks),
        watch=account.watched(entries),
    )  # fmt: skip


def _by_evidence(config: Config, earlier: EarlierSection, release: Release) -> Seen | str:
    """From the newest signed bundle of that environment about this release, brought here from another machine."""
    if not earlier.evidence or not earlier.key:
        raise UsageError(
            f"{config.path}: environments.after {earlier.name} needs config, or evidence and key",
            hint="config is a liftlock.toml on this machine; evidence a directory of signed bundles.",
        )
    key = signing.public_key(config.directory / Path(earlier.key).expanduser())
    place = config.directory / Path(earlier.evidence).expanduser()
    summaries = []
    for statement in sorted(place.glob(f"*/{bundle.STATEMENT_FILE}")):
        made, summary = bundle.read(statement.parent)
        if (summary.target, summary.environment) == (release.version, earlier.name):
            summaries.append((made.predicate.created_at, statement.parent, summary))
    if not summaries:
        return f"no evidence of {earlier.name} about MLflow {release} in {place}"
    _, directory, summary = max(summaries, key=lambda each: each[0])
    wrong = [each for each in bundle.verify(directory, key) if each.outcome is Outcome.FAIL]
    if wrong:
        raise JournalError(f"{directory.name} is not to be believed: {wrong[0].title}: {wrong[0].message}")
    if summary.outcome not in _GOOD or summary.ended_at is None:
        return f"the upgrade there: {summary.outcome}"
    return Seen(
        outcome=summary.outcome, ended_at=summary.ended_at, verification=summary.verification,
        proofs=summary.proofs, wanted=summary.checks, watch=summary.watch,
    )  # fmt: skip


def _finding(code: str, title: str, problem: str, *, good: str = "", hint: str = "") -> Finding:
    outcome = Outcome.FAIL if problem else Outcome.PASS
    return Finding(code=code, title=title, outcome=outcome, message=problem or good, hint=hint if problem else "")
