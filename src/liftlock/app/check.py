"""`check`: collect facts, ask every check; before or after an upgrade."""

from __future__ import annotations

from liftlock.app.planning import artifact_bytes, build_target
from liftlock.app.upgrade import last_upgrade
from liftlock.app.workspace import Workspace
from liftlock.assess.collect import collect
from liftlock.assess.facts import Broken, Target, Unknown
from liftlock.assess.run import assess
from liftlock.errors import LiftlockError, ReleaseError
from liftlock.model.codec import from_builtins
from liftlock.model.finding import Finding
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Release
from liftlock.releases.tools import Heads, ReleaseTools
from liftlock.verify.live import verify_server
from liftlock.verify.sample import RestSample


def check(workspace: Workspace, *, before: str | None = None, observer: Observer = silent) -> tuple[Finding, ...]:
    """Health and hazards now; with `before`, also whether that release can be gone to. Changes nothing."""
    target = _target(workspace, Release.parse(before), observer) if before else None
    facts = collect(
        workspace.config,
        stores=workspace.stores,
        server=workspace.server(),
        running_heads=_running_heads(workspace),
        artifact_bytes=artifact_bytes(workspace),
        target=target,
    )
    return assess(facts)


def check_after(workspace: Workspace) -> tuple[Finding, ...]:
    """The checks of now, and what the server serves compared with what the old one served before the upgrade."""
    state = last_upgrade(workspace)
    sampled = state.step("sample-before") if state else None
    sample = from_builtins(sampled.outcome["sample"], RestSample) if sampled else None
    config = workspace.config
    server = workspace.deployment().server
    live = verify_server(
        server.url, config.release, login=config.credentials(), public_names=config.server.public_names, before=sample
    )
    return (*check(workspace), *live)


def _target(workspace: Workspace, release: Release, observer: Observer) -> Target:
    try:
        environment = build_target(workspace, release, observer=observer)
    except ReleaseError as error:
        return Target(
            release=release, heads=Unknown(error.message), environment=Broken(why=error.message, hint=error.hint)
        )
    except LiftlockError as error:
        return Target(release=release, heads=Unknown(error.message), environment=Unknown(error.message))
    return Target(release=release, heads=ReleaseTools(environment).heads(), environment=environment)


def _running_heads(workspace: Workspace) -> Heads | Unknown:
    try:
        return ReleaseTools(workspace.environments.observe(workspace.config.python)).heads()
    except LiftlockError as error:
        return Unknown(error.message)
