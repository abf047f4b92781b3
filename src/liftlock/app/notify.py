"""Whom to tell of a deployment, and telling them; whatever goes wrong is said and written down, never raised."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Concatenate, ParamSpec, TypeVar

from liftlock import clock, files
from liftlock.app.planning import load_plan
from liftlock.app.workspace import Workspace
from liftlock.describe import secrets
from liftlock.describe.sections import NotifySection
from liftlock.effects import side_effect
from liftlock.engine.lock import operator
from liftlock.errors import LiftlockError, NeedsPerson, PutBack, UsageError
from liftlock.model.codec import from_json, to_builtins, to_json
from liftlock.model.journal import Kind, RunKind, RunOutcome
from liftlock.model.plan import Plan
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.secret import Secret, redact
from liftlock.notify.message import Event, Message
from liftlock.notify.send import Receiver, Told, send_all
from liftlock.report.text import estimate

P = ParamSpec("P")
R = TypeVar("R")


def tell(
    workspace: Workspace, event: Event, text: str, *, run: str = "", observer: Observer = silent
) -> tuple[Told, ...]:
    """Tell every receiver of this event. Never raises; a receiver that was not reached is said to the observer.

    With `run`, what came of it is noted in that run, and so is in its evidence.
    """
    section = workspace.config.notify
    if section is None:
        return ()
    receivers, told = _receivers(workspace, section, event)
    by, at = operator(), clock.now()

    def message(receiver: Receiver) -> Message:
        return Message(
            event=event, deployment=workspace.config.name, text=redact(text), at=at, by=by, run=run,
            role=receiver.section.role, owners=section.owners,
        )  # fmt: skip

    told += send_all(receivers, message, timeout=section.timeout)
    for each in told:
        if each.problem:
            observer(Progress(work=f"{each.receiver} was not told of {event.value}: {each.problem}"))
    if run and told:
        workspace.journal.append(run, Kind.NOTE, f"told:{event.value}", {"told": to_builtins(told)})
    return tuple(told)


def tell_once(
    workspace: Workspace, event: Event, about: str, text: str, *, run: str = "", observer: Observer = silent
) -> tuple[Told, ...]:
    """Tell of something unless it was told before, to everybody; `about` says what it is. Never raises."""
    path = workspace.config.state_directory / "told.json"
    key = f"{event.value} {about}"
    try:
        before = from_json(path.read_bytes(), tuple[str, ...]) if path.exists() else ()
    except (OSError, ValueError):
        before = ()  # telling once more is better than never
    if key in before:
        return ()
    told = tell(workspace, event, text, run=run, observer=observer)
    if told and not any(each.problem for each in told):
        with contextlib.suppress(OSError), side_effect("remember what was told"):
            files.write_atomic(workspace.state / path.name, to_json((*before, key)))
    return told


def plan_ready(workspace: Workspace, plan: Plan, observer: Observer = silent) -> tuple[Told, ...]:
    """Tell that a plan was made: once for the same way from the same state, however often it is looked at."""
    about = f"{plan.jump.source} {plan.jump.target} {plan.strategy.value} {plan.deployment_digest}"
    return tell_once(workspace, Event.PLAN_READY, about, _of_plan(plan), observer=observer)


def due(workspace: Workspace, observer: Observer = silent) -> tuple[Told, ...]:
    """Tell that a way back has been open for notify.window_hours, once for an upgrade. Made for a schedule."""
    section = workspace.config.notify
    ended = [each for each in workspace.journal.runs() if each.kind is RunKind.UPGRADE]
    if section is None or not section.window_hours or not ended or ended[-1].outcome is not RunOutcome.DONE:
        return ()
    run = ended[-1]
    if run.ended_at is None or clock.now() - run.ended_at < timedelta(hours=section.window_hours):
        return ()
    text = known(workspace, Event.WINDOW_CLOSING)
    return tell_once(workspace, Event.WINDOW_CLOSING, run.id, text, run=run.id, observer=observer)


def known(workspace: Workspace, event: Event) -> str:
    """What liftlock itself can say of an event that a person sends. Raises UsageError where it knows nothing."""
    latest = workspace.config.state_directory / "plans" / "latest"
    if event is Event.PLAN_READY and latest.is_file():
        return _of_plan(load_plan(workspace, latest.read_text("utf-8").strip()))
    ended = [each for each in workspace.journal.runs() if each.kind is RunKind.UPGRADE]
    if event is Event.WINDOW_CLOSING and ended and ended[-1].outcome is RunOutcome.DONE:
        was, now = ended[-1].payload.get("from"), ended[-1].payload.get("to")
        return (
            f"the way back from MLflow {now} to {was} is open since {ended[-1].ended_at:%Y-%m-%d %H:%M} UTC and about "
            "to be closed: liftlock rollback takes it, liftlock finalize closes it"
        )
    raise UsageError(f"nothing is known to say of {event.value}", hint='Say it with --text "...".')


def announced(work: Callable[Concatenate[Workspace, P], R]) -> Callable[Concatenate[Workspace, P], R]:
    """A command of an upgrade's life that tells how the run it was about ended."""

    @functools.wraps(work)
    def inner(workspace: Workspace, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if workspace.config.notify is None:
            return work(workspace, *args, **kwargs)
        given = kwargs.get("observer")
        observer: Observer = given if callable(given) else silent
        before = len(workspace.journal.entries())
        try:
            done = work(workspace, *args, **kwargs)
        except PutBack as error:
            _tell_end(workspace, Event.PUT_BACK, error.message, before, observer)
            raise
        except NeedsPerson as error:
            _tell_end(workspace, Event.NEEDS_PERSON, f"{error.message}. {error.hint}", before, observer)
            raise
        _tell_end(workspace, None, "", before, observer)
        return done

    return inner


def _tell_end(workspace: Workspace, event: Event | None, text: str, before: int, observer: Observer) -> None:
    """Tell of the last run that something was journalled of since `before` entries; nothing when nothing was."""
    try:
        entries = workspace.journal.entries()[before:]
        if not entries:
            return
        # A rollback also ends the upgrade it takes back; what was begun last is what the command was about.
        state = workspace.journal.run(entries[-1].run)
        if state.kind is RunKind.REHEARSAL:
            return
        if event is None:
            event, text = _outcome(state.outcome, state.kind.value)
        tell(workspace, event, text, run=state.id, observer=observer)
    except LiftlockError as error:
        observer(Progress(work=f"nobody was told: {error.message}"))


def _outcome(outcome: RunOutcome, kind: str) -> tuple[Event, str]:
    if outcome is RunOutcome.FINALIZED:
        return Event.WINDOW_CLOSED, "the rollback window has ended; the backups stay"
    if outcome is RunOutcome.PUT_BACK:
        return Event.PUT_BACK, f"the {kind} was put back; everything is as it was"
    if kind == "rollback":
        return Event.ROLLED_BACK, "the upgrade was rolled back; the release before it runs"
    return Event.CUT_OVER, "the new release runs, verified; the way back: liftlock rollback"


def _of_plan(plan: Plan) -> str:
    return (
        f"{plan.id} is ready: MLflow {plan.jump.source} to {plan.jump.target}, strategy {plan.strategy.value}, "
        f"writes held for {estimate(plan.window)}; see it with liftlock plan --to {plan.jump.target}"
    )


def _receivers(workspace: Workspace, section: NotifySection, event: Event) -> tuple[list[Receiver], list[Told]]:
    """Those who want this event, with their secrets; and those whose secrets have no value."""
    find = secrets.lookup(workspace.config.state_directory)
    receivers, failed = [], []
    for number, each in enumerate(section.receivers, 1):
        if each.events and event.value not in each.events and event is not Event.TEST:
            continue
        name = f"receiver {number} ({each.kind}{f', {each.role}' if each.role else ''})"
        where = f"notify.receivers {number}"
        try:
            url, header = (secrets.expand(value, find, where=where) for value in (each.url, each.header))
        except LiftlockError as error:
            failed.append(Told(receiver=name, problem=error.message))
            continue
        for value in (url, header.partition(":")[2].strip()):
            Secret(value)
        receivers.append(Receiver(name=name, section=each, url=url, header=header))
    return receivers, failed
