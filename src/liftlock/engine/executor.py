"""Run steps through the journal: forward, put back, resume. Knows nothing of what a step does.

The rule on resume (architecture, rule 10): a step with an intent and no outcome is probed. DONE: record and go on.
NOT_STARTED: run. PARTIAL: undo it, then run. UNKNOWN: stop for a person. Never guess.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from liftlock import clock
from liftlock.engine.interface import Context, Payload, Probe, Step
from liftlock.engine.interruption import Interrupted, interruptible
from liftlock.engine.journal import Journal, unfinished
from liftlock.errors import LiftlockError, NeedsPerson, PutBack, Refused
from liftlock.model.finding import blocking
from liftlock.model.journal import Kind, RunKind, RunOutcome, RunState
from liftlock.model.plan import Reversibility
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.secret import redact

_PAUSE = 0.5


class Executor:
    """Drives one run at a time; the caller holds the deployment's lock.

    `patience`: seconds for which a step that is put back, or has no way back, waits for something that is away and may
    come again.
    """

    def __init__(self, journal: Journal, *, observer: Observer = silent, patience: float = 60.0) -> None:
        self.journal = journal
        self.observer = observer
        self.patience = patience

    def begin(
        self, kind: RunKind, operator: str, payload: dict[str, Any], *, prepare: Callable[[str], None] | None = None
    ) -> RunState:
        """Open a run. Raises Refused while another one is open.

        `prepare` is called with the run's id before its first entry, to write what the run needs to be resumed.
        """
        open_run = self.journal.open_run()
        if open_run is not None:
            raise unfinished(open_run)
        run = f"{kind.value}-{clock.now():%Y%m%dT%H%M%S%f}"
        if prepare is not None:
            prepare(run)
        self.journal.append(run, Kind.RUN_STARTED, "", {"kind": kind.value, "operator": operator, **payload})
        return self.journal.run(run)

    def forward(self, run: str, steps: Sequence[Step]) -> dict[str, Payload]:
        """Run what is not done yet, in order; put everything back when a step fails.

        Returns every step's result. Raises PutBack after a failure that was put back, NeedsPerson where going on
        or back would be guessing (the run then stays open).
        """
        context = self._context(run)
        state = self.journal.run(run)
        with interruptible() as hush:
            try:
                for step in steps:
                    done = state.step(step.name)
                    if done is not None and done.last is Kind.DONE:
                        continue
                    self._do(run, step, context, begun=done is not None and done.last is not Kind.UNDONE)
            except NeedsPerson:
                raise
            except (Exception, Interrupted) as error:
                # Whatever it was, a bug of ours included: the deployment must not stay half-way.
                hush()
                cause = error if isinstance(error, LiftlockError) else LiftlockError(_describe(error))
                self.put_back(run, steps, reason=cause.message)
                raise PutBack(f"{cause.message}; everything was put back as it was", hint=cause.hint) from error
        return {step.name: context.outcome(step.name) for step in steps}

    def put_back(self, run: str, steps: Sequence[Step], *, reason: str, outcome: RunOutcome | None = None) -> None:
        """Undo, in reverse order, every step that was begun, and end the run. Repeatable after a crash.

        Raises NeedsPerson when a step cannot be taken back; the run stays open and `abort` tries again.
        """
        context = self._context(run)
        state = self.journal.run(run)
        begun = {entry.name for entry in state.steps if entry.last is not Kind.UNDONE}
        todo = [step for step in steps if step.name in begun]
        for step in todo:
            if step.reversibility is Reversibility.NONE:
                raise NeedsPerson(
                    f"step '{step.title}' has no way back", hint="Finish with `liftlock resume`, then roll back."
                )
        for step in reversed(todo):
            self.journal.append(run, Kind.UNDO_INTENT, step.name, {"reason": reason})
            self.observer(Progress(work=f"undo: {step.title}"))
            try:
                self._patiently(partial(step.undo, context), f"undo: {step.title}")
            except Exception as error:  # a bug of ours included: the operator must be told where it stands
                message = _describe(error)
                self.journal.append(run, Kind.NOTE, f"undo-failed:{step.name}", {"message": message})
                raise NeedsPerson(
                    f"putting back '{step.title}' failed: {message}",
                    hint=error.hint
                    if isinstance(error, NeedsPerson)
                    else "Clear the cause and run `liftlock abort`; the backup is untouched.",
                ) from error
            self.journal.append(run, Kind.UNDONE, step.name, {})
        self.end(run, outcome or RunOutcome.PUT_BACK, reason)

    def _patiently(self, act: Callable[[], None], what: str) -> None:
        """Act; while what it needs is away for a moment (a database, a gate that restarts), try again."""
        deadline = clock.monotonic() + self.patience
        while True:
            try:
                return act()
            except LiftlockError as error:
                if not error.retryable or isinstance(error, NeedsPerson) or clock.monotonic() > deadline:
                    raise
                self.observer(Progress(work=f"{what}, waiting: {error.message}"))
                clock.sleep(_PAUSE)

    def end(self, run: str, outcome: RunOutcome, message: str = "") -> None:
        """Close a run."""
        self.journal.append(run, Kind.RUN_ENDED, "", {"outcome": outcome.value, "message": message})

    def going_back(self, run: str) -> bool:
        """Whether the run was being put back when it was last heard of."""
        return any(step.last in (Kind.UNDO_INTENT, Kind.UNDONE) for step in self.journal.run(run).steps)

    def _do(self, run: str, step: Step, context: Context, *, begun: bool) -> None:
        findings = step.precheck(context) if not begun else ()
        stops = blocking(findings)
        if stops:
            raise Refused("; ".join(f"{f.code} {f.message or f.title}" for f in stops), hint=stops[0].hint)
        if begun:
            probe = step.probe(context)
            self.journal.append(run, Kind.NOTE, f"probe:{step.name}", {"probe": probe.value})
            if probe is Probe.UNKNOWN:
                raise NeedsPerson(
                    f"it cannot be told how far '{step.title}' came",
                    hint="Look at the deployment, then `liftlock resume` or `liftlock abort`.",
                )
            if probe is Probe.DONE:
                self._done(run, step, context)
                return
            if probe is Probe.PARTIAL:
                if step.reversibility is Reversibility.NONE:
                    raise _stuck(step)
                self.journal.append(run, Kind.UNDO_INTENT, step.name, {"reason": "cut off half-way"})
                step.undo(context)
                self.journal.append(run, Kind.UNDONE, step.name, {})
        self.journal.append(run, Kind.INTENT, step.name, {"title": step.title})
        self.observer(Progress(work=step.title))
        started = clock.monotonic()
        try:
            if step.reversibility is Reversibility.NONE:
                self._patiently(partial(_run_once, step, context), step.title)
            else:
                step.run(context)
        except Exception as error:
            self.journal.append(run, Kind.FAILED, step.name, {"message": _describe(error)})
            raise
        context.note(f"seconds:{step.name}", {"seconds": round(clock.monotonic() - started, 3)})
        self._done(run, step, context)

    def _done(self, run: str, step: Step, context: Context) -> None:
        result = step.result(context)
        seconds = context.noted(f"seconds:{step.name}")
        payload = {**result, "seconds": seconds["seconds"]} if seconds else result
        self.journal.append(run, Kind.DONE, step.name, payload)
        context.finished(step.name, payload)
        self.observer(Progress(work=step.title, done=1, total=1))

    def _context(self, run: str) -> Context:
        state = self.journal.run(run)
        return Context(
            run,
            {step.name: step.outcome for step in state.steps if step.last is Kind.DONE},
            notes=self.journal.notes(run),
            record=lambda key, payload: _ignore(self.journal.append(run, Kind.NOTE, key, payload)),
            observer=self.observer,
        )


def _run_once(step: Step, context: Context) -> None:
    """Run a step unless an earlier try has done it."""
    probe = step.probe(context)
    if probe is Probe.NOT_STARTED:
        step.run(context)
    elif probe is not Probe.DONE:
        raise _stuck(step)


def _stuck(step: Step) -> NeedsPerson:
    return NeedsPerson(f"'{step.title}' was cut off half-way and has no way back")


def _ignore(_: object) -> None:
    return None


def _describe(error: BaseException) -> str:
    if isinstance(error, LiftlockError):
        return error.message
    if isinstance(error, Interrupted):
        return f"interrupted by {error}"
    return redact(f"{type(error).__name__}: {error}")
