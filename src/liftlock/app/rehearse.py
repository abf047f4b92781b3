"""`rehearse`: the whole upgrade on a restored copy, timed, and taken back; the deployment is only read."""

from __future__ import annotations

from pathlib import Path

from liftlock import clock
from liftlock.app import assemble, rolling
from liftlock.app.planning import build_target, choose_target, find_jump, save_rehearsal
from liftlock.app.sites import free_port, rehearsal_site
from liftlock.app.workspace import Workspace
from liftlock.describe import config as configuration
from liftlock.engine.executor import Executor
from liftlock.engine.interface import Payload, Step
from liftlock.errors import Refused
from liftlock.model.codec import Value, from_builtins, from_json, to_json
from liftlock.model.deployment import Role
from liftlock.model.finding import Finding
from liftlock.model.journal import RunKind, RunOutcome, RunState
from liftlock.model.plan import Strategy
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Jump
from liftlock.plan.situation import Rehearsed
from liftlock.releases.tools import ReleaseTools
from liftlock.steps.beside import OldBesideNew

CONFIG = "liftlock.toml"
JUMP = "jump.json"
# Steps of a rehearsal whose time is write hold in the real upgrade.
_HOLD = ("stop-old", "prove-quiet", "snapshot", "fingerprint-before", "verify-data", "start-new")


class Rehearsal(Value, frozen=True):
    """What a rehearsal found and measured; `window_seconds` is how long writes would have been held."""

    run: str
    jump: Jump
    seconds: dict[str, float]
    window_seconds: float
    way_back_seconds: float
    findings: tuple[Finding, ...]


def rehearse(workspace: Workspace, to: str | None, *, observer: Observer = silent) -> Rehearsal:
    """Copy, migrate, verify, start both releases on the copy, go back, drop the copy.

    Raises PutBack when a step fails (the copy is gone then; the deployment was never touched).
    """
    with workspace.lock("rehearsal") as owner:
        workspace.journal.verify()
        workspace.require_no_run()
        deployment = workspace.deployment()
        target = choose_target(workspace, to)
        if not deployment.server.release < target:
            raise Refused(f"MLflow {target} is not newer than the running {deployment.server.release}")
        heads = ReleaseTools(build_target(workspace, target, observer=observer)).heads()
        jump, foreign = find_jump(deployment, target, heads)
        if foreign is not None:
            raise Refused(f"the database is at revision {foreign}, which MLflow {target} does not know")
        executor = Executor(workspace.journal, observer=observer)
        state = workspace.begin(
            executor,
            RunKind.REHEARSAL,
            owner.operator,
            {"to": target.version, "port": free_port(), **_beside(workspace, jump)},
            {CONFIG: workspace.config.path.read_text("utf-8"), JUMP: to_json(jump)},
        )
        steps = steps_of(workspace, state)
        results = executor.forward(state.id, steps)
        findings = tuple(
            from_builtins(each, Finding)
            for step in ("verify-data", "verify-live")
            for each in results[step].get("findings", ())
        )
        began = clock.monotonic()
        executor.put_back(state.id, steps, reason="rehearsed the way back", outcome=RunOutcome.DONE)
        back = clock.monotonic() - began
        seconds = {name: float(result.get("seconds", 0.0)) for name, result in results.items()}
        measured = Rehearsed(
            at=clock.now(),
            deployment_digest=deployment.digest,
            jump=jump,
            strategy=Strategy.STANDARD,
            seconds=seconds,
            rows=sum(store.rows for store in deployment.stores),
            bytes=sum(store.bytes for store in deployment.stores),
            beside=results.get(OldBesideNew.name, {}).get("beside"),
        )
        save_rehearsal(workspace, state.id, measured)
        held = sum(took for name, took in seconds.items() if name in _HOLD or name.startswith("migrate-"))
        return Rehearsal(
            run=state.id,
            jump=jump,
            seconds=seconds,
            window_seconds=round(held, 2),
            way_back_seconds=round(back, 2),
            findings=findings,
        )


def steps_of(workspace: Workspace, state: RunState) -> tuple[Step, ...]:
    """The steps of a journalled rehearsal, built anew."""
    config = configuration.loads(workspace.run_text(state, CONFIG), workspace.config.path)
    began = Workspace(config)
    jump = from_json(workspace.run_text(state, JUMP), Jump)
    directory = Path(began.state) / "rehearsals" / state.id
    site = rehearsal_site(began, jump, directory, int(state.payload["port"]))
    heads = ReleaseTools(build_target(began, jump.target)).heads()
    steps = assemble.rehearsal_steps(site, began.stores, heads)
    beside = state.payload.get("beside")
    if beside:
        steps += (rolling.rehearsal_step(began, site, str(beside["revision"]), int(beside["port"])),)
    return steps


def _beside(workspace: Workspace, jump: Jump) -> Payload:
    """Where the old release is to be tried on the migrated copy; nothing where `rolling` is out of the question."""
    if not rolling.rehearsable(workspace, jump):
        return {}
    return {"beside": {"port": free_port(), "revision": workspace.stores[Role.TRACKING].revision()}}
