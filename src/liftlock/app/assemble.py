"""From a site to the journalled steps of an upgrade, a rehearsal or a rollback, in the plan's order."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from liftlock.app.sites import keep_jobs_off
from liftlock.describe import config as configuration
from liftlock.describe.config import Config
from liftlock.engine.interface import Context, Step
from liftlock.errors import ReleaseError
from liftlock.model import shared_schema
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import RunState
from liftlock.model.plan import Plan, Strategy
from liftlock.model.release import Release
from liftlock.releases.tools import Heads
from liftlock.steps.backup import BackUp, Restore
from liftlock.steps.copies import CopyStores, MakePlace
from liftlock.steps.environments import BuildEnvironments
from liftlock.steps.fingerprint import FingerprintBefore, saved_fingerprint
from liftlock.steps.migrate import Migrate, Warmth, WarmUp
from liftlock.steps.record import Record
from liftlock.steps.server import ProveQuiet, StartServer, StopServer
from liftlock.steps.site import Site
from liftlock.steps.verification import Baseline, SampleBefore, VerifyData, VerifyLive
from liftlock.steps.written import after_migration
from liftlock.stores.interface import Store


def upgrade_steps(site: Site, plan: Plan, heads: Heads, config: Config, original: str) -> tuple[Step, ...]:
    """The steps of an upgrade. `original` is the text of liftlock.toml when the upgrade began."""
    source, target = plan.jump.source, plan.jump.target
    warmth = Warmth(auth=Role.AUTH in site.stores)
    standard = plan.strategy is Strategy.STANDARD
    available: dict[str, Step] = {}

    def add(step: Step) -> None:
        available[step.name] = step

    add(BuildEnvironments(site, warmth if standard else None))
    add(
        BackUp(
            site,
            name="back-up",
            title="back up everything, restore it elsewhere and compare",
            tag="pre-upgrade",
        )
    )
    add(SampleBefore(site))
    add(WarmUp(site, warmth))
    add(StopServer(site, name="stop-old", release=source, python=site.old_python, handle=site.old_server))
    add(ProveQuiet(site))
    add(
        BackUp(
            site,
            name="snapshot",
            title="take the final snapshot and verify it",
            tag="pre-migration",
            quiet=True,
            unless="back-up",
        )
    )
    for step in _migration_steps(site, heads, warmth):
        add(step)
    add(StartServer(site, name="start-new", release=target, python=new_python, opens=True))
    add(
        VerifyLive(
            site, target, clients=(source, target), opened_with=after_migration if standard else None, warmth=warmth
        )
    )
    add(
        Record(
            site,
            title="record the new release in liftlock.toml",
            before=original,
            after=lambda context: upgraded_text(config, target, new_python(context), keep_jobs_off(plan.jump, config)),
        )
    )
    return tuple(available[step.name] for step in plan.steps)


def rehearsal_steps(site: Site, live: dict[Role, Store], heads: Heads) -> tuple[Step, ...]:
    """The same upgrade on a copy: the old release is started on it first, so that both sides are real."""
    source, target = site.jump.source, site.jump.target
    warmth = Warmth(auth=Role.AUTH in site.stores)
    return (
        MakePlace(site),
        BuildEnvironments(site, warmth),
        CopyStores(site, live),
        StartServer(site, name="start-old", release=source, python=lambda _: site.old_python),
        SampleBefore(site),
        WarmUp(site, warmth),
        StopServer(site, name="stop-old", release=source, python=site.old_python, handle=None),
        ProveQuiet(site),
        BackUp(site, name="snapshot", title="take the final snapshot and verify it", tag="rehearsal", quiet=True),
        *_migration_steps(site, heads, warmth),
        StartServer(site, name="start-new", release=target, python=new_python),
        VerifyLive(site, target, clients=(source, target), opened_with=after_migration, warmth=warmth),
    )


def rollback_steps(
    site: Site, *, upgrade: RunState, old_python: Path, running: Config, current: str, original: str, in_place: bool
) -> tuple[Step, ...]:
    """Back to the release before: its `original` text of liftlock.toml instead of the `current` one, and, unless the
    upgrade was in place, its final snapshot.
    """
    source, target = site.jump.source, site.jump.target
    restoring: tuple[Step, ...] = ()
    earlier = {step.name: step.outcome for step in upgrade.steps}
    restored: Baseline | None = None
    if not in_place:
        set_id = str(earlier["snapshot"]["set"])
        restored = partial(_saved, site, set_id)
        restoring = tuple(Restore(site, role, source=set_id, fallback_step="save-new") for role in site.stores)
    return (
        StopServer(site, name="stop-new", release=target, python=running.python, handle=site.old_server),
        ProveQuiet(site),
        BackUp(
            site,
            name="save-new",
            title="back up what was written since the upgrade",
            tag="pre-rollback",
            quiet=True,
        ),
        *restoring,
        StartServer(site, name="start-old", release=source, python=lambda _: old_python),
        VerifyLive(site, source, clients=(source,), opened_with=restored, earlier=earlier),
        Record(site, title="record the old release in liftlock.toml", before=current, after=lambda _: original),
    )


def _saved(site: Site, set_id: str, _: Context, role: Role) -> Fingerprint:
    return saved_fingerprint(site, set_id, role)


def new_python(context: Context) -> Path:
    """The interpreter that `build-environments` made for the target."""
    return Path(str(context.outcome("build-environments")["new_python"]))


def upgraded_text(config: Config, target: Release, python: Path, environment: dict[str, str]) -> str:
    """liftlock.toml for the new release: other release and interpreter, everything else kept."""
    server = msgspec.structs.replace(
        config.server,
        release=target.version,
        python=str(python),
        environment={**environment, **shared_schema.without(config.server.environment)},
    )
    return configuration.loads(msgspec.structs.replace(config, server=server).dumps(), config.path).dumps()


def _migration_steps(site: Site, heads: Heads, warmth: Warmth) -> tuple[Step, ...]:
    ends: dict[Role, str] = {}
    for role in site.stores:
        head = heads.head(role)
        if head is None:
            raise ReleaseError(f"MLflow {site.jump.target} has no migrations for the {role.value} database")
        ends[role] = head
    return (
        FingerprintBefore(site, snapshot_step="snapshot"),
        *(Migrate(site, role, warmth, head=ends[role], snapshot_step="snapshot") for role in site.stores),
        VerifyData(site, ends, snapshot_step="snapshot"),
    )
