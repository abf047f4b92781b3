"""`plan`: gather the situation, decide purely, keep the plan where `upgrade` finds it."""

from __future__ import annotations

from pathlib import Path

from liftlock import clock, files
from liftlock.app import rolling
from liftlock.app.online import gate_stands, obstacles
from liftlock.app.sites import keep_jobs_off
from liftlock.app.workspace import Workspace
from liftlock.describe.config import Config
from liftlock.errors import Refused, UsageError
from liftlock.model.codec import from_json, to_json
from liftlock.model.deployment import Deployment, Role
from liftlock.model.plan import Plan, Strategy
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Jump, Release
from liftlock.plan.planner import identity, plan
from liftlock.plan.situation import Rehearsed, Situation
from liftlock.releases.environment import Environment
from liftlock.releases.index import Index
from liftlock.releases.tools import Heads, ReleaseTools

_SIDE_BY_SIDE = (None, Strategy.ONLINE)  # only then is it worth asking what stands in the way


def choose_target(workspace: Workspace, to: str | None) -> Release:
    """The release that was asked for; without one, the newest that really installs from the user's index."""
    return Release.parse(to) if to else Index(workspace.environments.root).newest_installable()


def build_target(workspace: Workspace, target: Release, *, observer: Observer = silent) -> Environment:
    """The target's environment with what the old one carries; from the cache when it was built before."""
    environments = workspace.environments
    drivers = {store.uri.engine for store in workspace.stores.values()}
    observed = environments.observe(workspace.config.python)
    return environments.build(
        target, requirements=environments.carried(observed, drivers), drivers=drivers, observer=observer
    )


def find_jump(deployment: Deployment, target: Release, heads: Heads) -> tuple[Jump, str | None]:
    """The jump with the revisions to run on these databases, and a revision the target does not know (or None)."""
    pending: dict[Role, tuple[str, ...]] = {}
    foreign: str | None = None
    for store in deployment.stores:
        chain = heads.chain(store.role)
        if store.revision is None:
            pending[store.role] = chain
        elif store.revision in chain:
            pending[store.role] = chain[chain.index(store.revision) + 1 :]
        else:
            foreign = store.revision
    jump = Jump(
        source=deployment.server.release,
        target=target,
        tracking=pending.get(Role.TRACKING, ()),
        auth=pending.get(Role.AUTH, ()),
    )
    return jump, foreign


def make_plan(
    workspace: Workspace, to: str | None, strategy: Strategy | None = None, *, observer: Observer = silent
) -> Plan:
    """Observe, decide, and save the plan. Nothing of the user's is changed; the target's environment is built."""
    deployment = workspace.deployment()
    target = choose_target(workspace, to)
    if target < deployment.server.release or target == deployment.server.release:
        jump = Jump(source=deployment.server.release, target=target)
        return plan(Situation(now=clock.now(), deployment=deployment, jump=jump))
    environment = build_target(workspace, target, observer=observer)
    jump, foreign = find_jump(deployment, target, ReleaseTools(environment).heads())
    made = plan(
        Situation(
            now=clock.now(),
            deployment=deployment,
            jump=jump,
            wanted=strategy,
            foreign_revision=foreign,
            rehearsed=last_rehearsal(workspace, jump),
            artifact_bytes=artifact_bytes(workspace),
            target_cached=True,  # it has just been built, to read its migrations
            gate=gate_stands(workspace),
            online_obstacles=obstacles(workspace, jump) if gate_stands(workspace) and strategy in _SIDE_BY_SIDE else (),
            rolling_obstacles=rolling.obstacles(workspace),
            new_starts_in=environment.proof.start_seconds if environment.proof else None,
            notes=_notes(jump, workspace.config),
        )
    )
    directory = files.private_directory(workspace.state / "plans")
    files.write_atomic(directory / f"{made.id}.json", to_json(made, indent=2))
    files.write_atomic(directory / "latest", made.id)
    return made


def load_plan(workspace: Workspace, plan_id: str) -> Plan:
    """A saved plan. Raises UsageError when there is none with this id."""
    path = workspace.state / "plans" / f"{Path(plan_id).name}.json"
    try:
        found = from_json(path.read_bytes(), Plan)
    except FileNotFoundError:
        raise UsageError(f"there is no plan {plan_id}", hint="Make one with `liftlock plan --to VERSION`.") from None
    except ValueError as error:
        raise UsageError(f"plan {plan_id} is damaged: {error}", hint="Make it anew with `liftlock plan`.") from error
    if found.id != identity(found) or found.id != path.stem:
        raise UsageError(f"plan {plan_id} was edited", hint="Make it anew with `liftlock plan`.")
    return found


def require_unchanged(plan: Plan, deployment: Deployment) -> None:
    """Refuse a plan that was made for another state of the deployment."""
    if plan.deployment_digest != deployment.digest:
        raise Refused(
            f"the deployment has changed since {plan.id} was made",
            hint="Make a new plan with `liftlock plan` and read what is different.",
        )


def save_rehearsal(workspace: Workspace, run: str, measured: Rehearsed) -> Path:
    """Keep what a rehearsal measured, for later plans."""
    directory = files.private_directory(workspace.state / "rehearsals")
    path = directory / f"{run}.json"
    files.write_atomic(path, to_json(measured, indent=2))
    return path


def last_rehearsal(workspace: Workspace, jump: Jump) -> Rehearsed | None:
    """The newest rehearsal of exactly this jump, or None."""
    found: list[Rehearsed] = []
    for path in (workspace.config.state_directory / "rehearsals").glob("*.json"):
        try:
            found.append(from_json(path.read_bytes(), Rehearsed))
        except ValueError:
            continue  # of another format: worth nothing, and no reason to refuse a plan
    return max((each for each in found if each.jump == jump), key=lambda each: each.at, default=None)


def _notes(jump: Jump, config: Config) -> tuple[str, ...]:
    if keep_jobs_off(jump, config):
        return (
            "job execution, on by default since 3.9, stays off (it costs 9 to 12 processes and 1.5 to 3 GB); "
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION in server.environment turns it on",
        )
    return ()


def artifact_bytes(workspace: Workspace) -> int:
    """Bytes of all local artifacts, by their sizes alone."""
    total = 0
    for root in workspace.config.artifacts.roots:
        for path in Path(root).rglob("*") if Path(root).is_dir() else ():
            if path.is_file() and not path.is_symlink():
                total += path.stat().st_size
    return total
