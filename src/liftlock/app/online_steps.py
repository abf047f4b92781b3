"""The steps of an online upgrade and of its rollback, in order, and what ends the way back."""

from __future__ import annotations

from pathlib import Path

from liftlock import clock
from liftlock.app import assemble
from liftlock.app.online import Settings, recorded
from liftlock.app.workspace import Workspace
from liftlock.backup.create import create
from liftlock.backup.verify import verify
from liftlock.describe.config import Config
from liftlock.engine.interface import Step
from liftlock.errors import BackupError, ReleaseError
from liftlock.gate.model import Address
from liftlock.model.deployment import Role
from liftlock.model.finding import blocking
from liftlock.model.journal import RunState
from liftlock.model.plan import Plan
from liftlock.model.release import Release
from liftlock.online.control import When
from liftlock.releases.tools import Heads
from liftlock.steps.aligned import VerifyAligned
from liftlock.steps.backup import BackUp
from liftlock.steps.capture import Capture
from liftlock.steps.converge import Converge
from liftlock.steps.cut_over import SwitchSides
from liftlock.steps.environments import BuildEnvironments
from liftlock.steps.green import MakeGreen
from liftlock.steps.record import Record
from liftlock.steps.retire import RecordGate, RetireGreen
from liftlock.steps.server import StartServer, StopServer
from liftlock.steps.sides import Sides
from liftlock.steps.unpark import Unpark
from liftlock.steps.verification import VerifyLive


def upgrade_steps(
    both: Sides, workspace: Workspace, plan: Plan, heads: Heads, settings: Settings, directory: Path, original: str
) -> tuple[Step, ...]:
    """The steps of an online upgrade, in the plan's order."""
    old, new = both.old, both.new
    source, target = both.source, both.target
    old_at, new_at = _addresses(workspace.config, settings)
    available: dict[str, Step] = {}
    made: list[Step] = [
        BuildEnvironments(old, both.warmth),
        BackUp(old, name="back-up", title="back up everything, restore it elsewhere and compare", tag="pre-upgrade"),
        Capture(both.blue, name="capture", title="capture what people change from now on"),
        *(MakeGreen(both, role, head=_head(heads, role, target)) for role in both.blue),
        Capture(both.green, name="capture-back", title="prepare the way back"),
        StartServer(new, name="start-new", release=target, python=assemble.new_python),
        Converge(both.flows, both.pace, both.control, name="converge", title="bring over what changed meanwhile"),
        VerifyAligned(both, both.flows, name="verify-aligned", title="compare every row while people write"),
        SwitchSides(
            both,
            new,
            name="cut-over",
            title=f"cut over to MLflow {target}",
            there=both.flows,
            back=both.back,
            to=lambda _: new_at,
            home=lambda _: old_at,
            when=settings.when,
        ),
        Unpark(both),
        StopServer(old, name="stop-old", release=source, python=old.old_python, handle=old.old_server),
        VerifyLive(new, target, clients=(source, target), opened_with=None, warmth=both.warmth),
        RecordGate(both, to=lambda _: new_at, home=lambda _: old_at),
        Record(
            old,
            title="record the new release in liftlock.toml",
            before=original,
            after=lambda context: recorded(
                workspace.config, plan.jump, assemble.new_python(context), both, settings, directory
            ),
        ),
    ]
    for step in made:
        available[step.name] = step
    return tuple(available[step.name] for step in plan.steps)


def rollback_steps(
    both: Sides, workspace: Workspace, settings: Settings, *, old_python: Path, current: str, original: str
) -> tuple[Step, ...]:
    """Back to the release before, with everything that was written since."""
    old, new = both.old, both.new
    source, target = both.source, both.target
    old_at, new_at = _addresses(workspace.config, settings)
    return (
        StartServer(old, name="start-old", release=source, python=lambda _: old_python),
        Converge(both.back, both.pace, both.control, name="converge-back", title="bring back what was written since"),
        SwitchSides(
            both,
            old,
            name="cut-back",
            title=f"go back to MLflow {source}",
            there=both.back,
            back=both.flows,
            to=lambda _: old_at,
            home=lambda _: new_at,
            when=When(),
        ),
        RecordGate(both, to=lambda _: old_at, home=lambda _: new_at),
        Record(old, title="record the old release in liftlock.toml", before=current, after=lambda _: original),
        StopServer(new, name="stop-new", release=target, python=_built_python(both), handle=new.old_server),
        VerifyLive(old, source, clients=(source,), opened_with=None, earlier=both.earlier),
        BackUp(new, name="save-new", title="back up the newer databases", tag="pre-retire"),
        RetireGreen(both, saved_step="save-new"),
    )


def finalize(both: Sides, state: RunState, *, directory: Path) -> str:
    """End the way back: save the old databases in a verified backup, remove them, end capture. The backup's id.

    May be repeated after a kill. Raises BackupError when the backup does not restore to what was saved.
    """
    stores = {role: each.store for role, each in both.blue.items() if each.store.exists()}
    saved = ""
    if stores:
        made = create(both.old.sources(), directory, tags=(f"retired-{clock.stamp()}", f"run-{state.id}"), keep=True)
        stops = blocking(verify(directory, made.id, stores=stores))
        if stops:
            raise BackupError(f"the backup {made.id} does not restore to what was saved: {stops[0].message}")
        saved = made.id
    for each in both.green.values():
        each.release()
    for store in stores.values():
        store.discard(saved_as=saved)
    unparked = state.step("unpark")
    if unparked is None or not unparked.outcome.get("conflicts"):
        for parking in both.rules.parking.values():
            parking.path.unlink(missing_ok=True)
    both.rules.close()
    return saved


def _addresses(config: Config, settings: Settings) -> tuple[Address, Address]:
    return (
        Address(host=config.server.host, port=config.server.port),
        Address(host="127.0.0.1", port=settings.port),
    )


def _head(heads: Heads, role: Role, target: Release) -> str:
    head = heads.head(role)
    if head is None:
        raise ReleaseError(f"MLflow {target} has no migrations for the {role.value} database")
    return head


def _built_python(both: Sides) -> Path:
    return Path(str(both.earlier["build-environments"]["new_python"]))
