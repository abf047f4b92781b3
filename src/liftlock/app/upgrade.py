"""`upgrade`, `resume`, `abort`, `rollback`, `finalize`: the life of an upgrade, each under the lock and journalled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from liftlock.app import rehearse
from liftlock.app.environments import enter
from liftlock.app.lives import LIVES, Life, Run, Wishes, plan_of
from liftlock.app.lives.interface import CONFIG, PLAN
from liftlock.app.notify import announced
from liftlock.app.planning import build_target, require_unchanged
from liftlock.app.since import WritesSince
from liftlock.app.watch_baseline import Baselines
from liftlock.app.workspace import Workspace
from liftlock.backup import catalog
from liftlock.engine.executor import Executor
from liftlock.engine.interface import Payload, Step
from liftlock.errors import NeedsPerson, PutBack, Refused
from liftlock.model.codec import Value, to_builtins, to_json
from liftlock.model.journal import Kind, RunKind, RunOutcome, RunState
from liftlock.model.plan import Plan
from liftlock.model.progress import Observer, silent
from liftlock.releases.tools import ReleaseTools

# What is left of an upgrade once its migrated databases were compared, but for the verification of the server.
_LAST = ("start-new", "record")


class Summary(Value, frozen=True):
    """How a run ended: its outcomes by step, and how long writes were held, in seconds."""

    run: str
    kind: RunKind
    outcome: RunOutcome
    results: dict[str, dict[str, Any]]
    write_hold_seconds: float | None


@announced
def upgrade(
    workspace: Workspace,
    plan: Plan,
    *,
    wishes: Wishes | None = None,
    observer: Observer = silent,
) -> Summary:
    """Run exactly this plan. Raises Refused, PutBack or NeedsPerson; see `Executor.forward`."""
    with workspace.lock(f"upgrade to MLflow {plan.jump.target}") as owner:
        workspace.journal.verify()
        workspace.require_no_run()
        require_closed_window(workspace)
        deployment = workspace.deployment()
        require_unchanged(plan, deployment)
        server = workspace.server()
        if server is None:
            raise Refused("the server does not run, so nothing can be compared", hint="Run `liftlock server start`.")
        executor = Executor(workspace.journal, observer=observer)
        state = workspace.begin(
            executor,
            RunKind.UPGRADE,
            owner.operator,
            {
                "plan": plan.id,
                "from": plan.jump.source.version,
                "to": plan.jump.target.version,
                "strategy": plan.strategy.value,
                "server": to_builtins(server),
                "phase": enter(workspace, plan.jump.target, observer),
                **LIVES[plan.strategy].chosen(workspace, plan, wishes or Wishes()),
            },
            {CONFIG: workspace.config.path.read_text("utf-8"), PLAN: to_json(plan)},
        )
        Baselines(workspace).note(state)
        return _go_on(workspace, executor, state, observer)


@announced
def resume(workspace: Workspace, *, observer: Observer = silent) -> Summary:
    """Go on with the open run: forward, or back when it was being put back. Raises Refused when there is none."""
    with workspace.lock("resume") as _:
        workspace.journal.verify()
        executor = Executor(workspace.journal, observer=observer)
        state = _open_run(workspace)
        if state.kind is RunKind.REHEARSAL:
            return _clean_rehearsal(workspace, executor, state)
        if executor.going_back(state.id):
            return _put_back(workspace, executor, state, "resumed while it was being put back", observer)
        return _go_on(workspace, executor, state, observer)


@announced
def abort(workspace: Workspace, *, observer: Observer = silent) -> Summary:
    """Put the open run back as it was. Raises Refused when there is none."""
    with workspace.lock("abort") as _:
        workspace.journal.verify()
        executor = Executor(workspace.journal, observer=observer)
        state = _open_run(workspace)
        if state.kind is RunKind.REHEARSAL:
            return _clean_rehearsal(workspace, executor, state)
        return _put_back(workspace, executor, state, "aborted by the operator", observer)


def require_closed_window(workspace: Workspace) -> None:
    """Raise Refused while an upgrade can still be rolled back that left something in a database for that."""
    state = last_upgrade(workspace)
    if state is not None and _life(workspace, state).window:
        raise Refused(
            f"the way back of {state.id} is still open",
            hint="End it with `liftlock finalize`, or go back with `liftlock rollback`.",
        )


def last_upgrade(workspace: Workspace) -> RunState | None:
    """The upgrade that can still be rolled back, or None."""
    runs = [state for state in workspace.journal.runs() if state.kind is RunKind.UPGRADE]
    ended = [
        state for state in runs if state.outcome in (RunOutcome.DONE, RunOutcome.ROLLED_BACK, RunOutcome.FINALIZED)
    ]
    return ended[-1] if ended and ended[-1].outcome is RunOutcome.DONE else None


def preview_rollback(workspace: Workspace) -> tuple[RunState, WritesSince]:
    """The upgrade a rollback would take back, and what was written since. Raises Refused when there is none."""
    workspace.journal.verify()
    state = _to_roll_back(workspace)
    return state, _life(workspace, state).since(Run(workspace, state))


@announced
def rollback(workspace: Workspace, *, observer: Observer = silent) -> Summary:
    """Go back to the release before the last upgrade. What was written since is saved in a verified backup first; after
    an online upgrade it is carried back as well.

    An upgrade that stopped for a person because clients had written before it was verified is ended as it stands and
    then rolled back like any other: taking it back step by step would lose those writes.
    """
    with workspace.lock("rollback") as owner:
        workspace.journal.verify()
        state = _to_roll_back(workspace)
        executor = Executor(workspace.journal, observer=observer)
        if state.outcome is RunOutcome.OPEN:
            rest = [step for step in steps_of(workspace, state, observer=observer) if step.name in _LAST]
            executor.forward(state.id, rest)
            executor.end(state.id, RunOutcome.DONE, "not verified; ended to be rolled back")
            workspace = Workspace.open(workspace.config.path)
        server = workspace.server()
        run = workspace.begin(
            executor,
            RunKind.ROLLBACK,
            owner.operator,
            {"upgrade": state.id, "server": to_builtins(server) if server else None},
            {CONFIG: workspace.config.path.read_text("utf-8")},
        )
        return _go_on(workspace, executor, run, observer)


@announced
def finalize(workspace: Workspace) -> tuple[str, ...]:
    """End the rollback window: the old environment may go, the snapshots are kept like any other backup.

    Returns what was released. Raises Refused when there is nothing to finalize.
    """
    with workspace.lock("finalize") as _:
        workspace.journal.verify()
        state = last_upgrade(workspace)
        if state is None:
            raise Refused("there is no upgrade to finalize", hint="See `liftlock status`.")
        run = Run(workspace, state)
        target = run.plan.jump.target
        LIVES[run.plan.strategy].finalize(run)
        digest = _result(state, "build-environments").get("new_lock_digest")
        for environment in workspace.environments.cached():
            if environment.release == target and environment.lock_digest == digest:
                workspace.environments.keep(environment, by=f"deployment {workspace.config.path}")
        workspace.environments.release(state.id)
        released = []
        for step in ("back-up", "snapshot"):
            set_id = _result(state, step).get("set")
            if set_id and str(set_id) not in released:  # one set may have served as both
                catalog.set_keep(workspace.config.backup_directory, str(set_id), keep=False)
                released.append(str(set_id))
        Executor(workspace.journal).end(state.id, RunOutcome.FINALIZED)
        return tuple(released)


def steps_of(workspace: Workspace, state: RunState, *, observer: Observer = silent) -> tuple[Step, ...]:
    """The steps of a journalled upgrade or rollback, built anew from what the journal says of it."""
    run = Run(workspace, state)
    if state.kind is RunKind.UPGRADE:
        environment = build_target(run.began, run.plan.jump.target, observer=observer)
        return LIVES[run.plan.strategy].there(run, ReleaseTools(environment).heads())
    upgraded = Run(workspace, workspace.journal.run(str(state.payload["upgrade"])))
    old_python = old_interpreter(workspace, upgraded.state, upgraded.began.config.python)
    return LIVES[upgraded.plan.strategy].back(upgraded, run, old_python=old_python)


def old_interpreter(workspace: Workspace, state: RunState, python: Path) -> Path:
    """The person's own interpreter while it still is what it was; else the replica rebuilt from its lock.

    Raises NeedsPerson when neither is there.
    """
    built = _result(state, "build-environments")
    if python.exists() and workspace.environments.observe(python).lock_digest == built.get("old_lock_digest"):
        return python
    replica = built.get("old_replica")
    if replica and Path(str(replica)).exists():
        return Path(str(replica))
    raise NeedsPerson(
        f"the old environment {python} has changed since the upgrade and no replica of it exists",
        hint="Restore that environment as its lock in the backup says, then roll back.",
    )


def _go_on(workspace: Workspace, executor: Executor, state: RunState, observer: Observer) -> Summary:
    steps = steps_of(workspace, state, observer=observer)
    try:
        results = executor.forward(state.id, steps)
    except PutBack as error:
        stays = _life(workspace, state).stays(Run(workspace, state)) if state.kind is RunKind.UPGRADE else ""
        if stays:
            raise PutBack(f"{error.message}, {stays}", hint=error.hint) from error
        raise
    if state.kind is RunKind.ROLLBACK:
        executor.end(str(state.payload["upgrade"]), RunOutcome.ROLLED_BACK)
        workspace.environments.release(str(state.payload["upgrade"]))
    executor.end(state.id, RunOutcome.DONE)
    return _summary(workspace, state.id, results)


def _put_back(workspace: Workspace, executor: Executor, state: RunState, reason: str, observer: Observer) -> Summary:
    executor.put_back(state.id, steps_of(workspace, state, observer=observer), reason=reason)
    return _summary(workspace, state.id, {})


def _clean_rehearsal(workspace: Workspace, executor: Executor, state: RunState) -> Summary:
    executor.put_back(state.id, rehearse.steps_of(workspace, state), reason="cleaned up")
    return _summary(workspace, state.id, {})


def _to_roll_back(workspace: Workspace) -> RunState:
    open_run = workspace.journal.open_run()
    if open_run is None:
        found = last_upgrade(workspace)
        if found is None:
            raise Refused("there is no upgrade to roll back", hint="See `liftlock status`.")
        return found
    half_way = open_run.kind is RunKind.UPGRADE and _life(workspace, open_run).half_way
    opened = half_way and bool(_result(open_run, "start-new"))
    restored = any(
        step.name.startswith("migrate-") and step.last in (Kind.UNDO_INTENT, Kind.UNDONE) for step in open_run.steps
    )
    if not opened or restored:
        raise workspace.unfinished(open_run)
    return open_run


def _open_run(workspace: Workspace) -> RunState:
    state = workspace.journal.open_run()
    if state is None:
        raise Refused("no run is open", hint="See `liftlock status`.")
    return state


def _summary(workspace: Workspace, run: str, results: dict[str, Payload]) -> Summary:
    state = workspace.journal.run(run)
    return Summary(
        run=run,
        kind=state.kind,
        outcome=state.outcome,
        results={name: {k: v for k, v in result.items() if k != "after"} for name, result in results.items()},
        write_hold_seconds=write_hold(workspace, state),
    )


def write_hold(workspace: Workspace, state: RunState) -> float | None:
    """Seconds from the old server's stop to the new one's health, or of the longest hold of the gate; None before."""
    holds = [float(step.outcome["hold"]) for step in state.steps if step.outcome.get("hold") is not None]
    if holds:
        return max(holds)
    stops, opens = ("stop-old", "stop-new"), ("start-new", "start-old")
    entries = workspace.journal.entries(state.id)
    began = next((e.at for e in entries if e.kind is Kind.INTENT and e.step in stops), None)
    ended = next((e.at for e in entries if e.kind is Kind.DONE and e.step in opens), None)
    return round((ended - began).total_seconds(), 2) if began and ended else None


def _life(workspace: Workspace, state: RunState) -> Life:
    return LIVES[plan_of(workspace, state).strategy]


def _result(state: RunState, step: str) -> Payload:
    found = state.step(step)
    return found.outcome if found else {}
