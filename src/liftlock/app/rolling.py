"""The composition root of a rolling upgrade: the places of three servers, the steps there and back, and its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec

from liftlock.app import assemble
from liftlock.app.gate import directory as gate_directory
from liftlock.app.gate import reviver
from liftlock.app.sites import free_port, keep_jobs_off, live_site
from liftlock.app.workspace import Workspace
from liftlock.describe import config as configuration
from liftlock.describe.config import Config
from liftlock.describe.launch import Overrides, server_spec
from liftlock.engine.interface import Context, Payload, Step
from liftlock.errors import ReleaseError, StoreError
from liftlock.gate.model import Address
from liftlock.knowledge import additive
from liftlock.model import shared_schema
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.plan import Plan
from liftlock.model.release import Jump, Release
from liftlock.model.uri import Engine
from liftlock.online.control import Control
from liftlock.releases.tools import Heads, WarmWorker
from liftlock.runtimes.interface import Handle, ServerSpec
from liftlock.runtimes.process import ProcessRuntime
from liftlock.steps.backup import BackUp
from liftlock.steps.beside import OldBesideNew
from liftlock.steps.environments import BuildEnvironments
from liftlock.steps.migrate import Warmth, target_environment
from liftlock.steps.migrate_shared import MigrateShared
from liftlock.steps.record import Record
from liftlock.steps.server import StartServer, StopServer
from liftlock.steps.share_schema import ShareSchema
from liftlock.steps.shift_reads import ShiftReads
from liftlock.steps.site import Site
from liftlock.steps.turn import Door, Turn
from liftlock.steps.unless_migrated import UnlessMigrated
from liftlock.steps.verification import VerifyLive
from liftlock.stores import postgresql_shared as shared
from liftlock.stores.interface import Store

_SLOTS = ("a", "b", "c")


class Place(Value, frozen=True):
    """Where one of liftlock's servers runs: a port of the loopback address and a slot of the state directory."""

    port: int
    slot: str

    @property
    def address(self) -> Address:
        """For the gate."""
        return Address(host="127.0.0.1", port=self.port)


class Settings(Value, frozen=True):
    """What is chosen once and journalled. `limit` (seconds) bounds the migration's stall, `stay` each stage of reads.

    `revision` is the one the old release expects of its database.
    """

    beside: Place
    new: Place
    revision: str
    limit: float = 8.0
    stay: float = 5.0

    @classmethod
    def choose(cls, workspace: Workspace, stay: float) -> Settings:
        """Two places that are not live. Raises StoreError where the database has no revision."""
        first, second = [slot for slot in _SLOTS if slot != workspace.config.server.slot][:2]
        revision = workspace.stores[Role.TRACKING].revision()
        if revision is None:
            raise StoreError("the tracking database has no MLflow schema")
        return cls(
            beside=Place(port=free_port(), slot=first),
            new=Place(port=free_port(), slot=second),
            revision=revision,
            stay=stay,
        )


def obstacles(workspace: Workspace) -> tuple[str, ...]:
    """What in this deployment keeps two releases from sharing its database, one sentence each."""
    config = workspace.config
    found: list[str] = []
    if shared_schema.served(config.server.environment) is not None:
        found.append("two releases share the database already; upgrade in place first")
    elif shared_schema.VARIABLE in config.server.environment:
        found.append(f"{shared_schema.VARIABLE} is set in server.environment")
    if any(name == "options" for name, _ in config.store_uri(Role.TRACKING).query):
        found.append("the database's URI has options of its own, which hide a search path from the environment")
    if Role.REGISTRY in config.roles():
        found.append("the registry has a database of its own")
    return tuple(found)


def rehearsable(workspace: Workspace, jump: Jump) -> bool:
    """Whether it is worth trying the old release on the migrated copy: only where nothing else is in the way."""
    store = workspace.stores[Role.TRACKING]
    if store.uri.engine is not Engine.POSTGRESQL or not jump.tracking or jump.auth or obstacles(workspace):
        return False
    return not additive.obstacles(Role.TRACKING, jump.tracking, store.columns())


def rehearsal_step(workspace: Workspace, site: Site, revision: str, port: int) -> Step:
    """The old release on a rehearsal's copy, on a port of its own."""
    config = workspace.config
    runtime = ProcessRuntime(site.state_directory / "runtime-beside")
    overrides = Overrides(
        stores={role: store.uri for role, store in site.stores.items()},
        artifacts_destination=site.artifacts_destination,
        environment=shared_schema.variables(revision),
        directory=site.state_directory,
    )

    def spec() -> ServerSpec:
        return server_spec(
            config, python=config.python, release=config.release, host="127.0.0.1", port=port, workers=1,
            overrides=overrides,
        )  # fmt: skip

    return OldBesideNew(site, site.store(Role.TRACKING), revision, runtime, spec)


def upgrade_steps(
    workspace: Workspace, plan: Plan, heads: Heads, settings: Settings, directory: Path, handle: Handle | None,
    original: str,
) -> tuple[Step, ...]:  # fmt: skip
    """The steps of a rolling upgrade, in the plan's order."""
    config, source, target = workspace.config, plan.jump.source, plan.jump.target
    old = live_site(workspace, plan.jump, handle)
    store, door = old.store(Role.TRACKING), _door(workspace, directory)
    beside, new = _beside(old, config, settings, workspace), _new(old, config, settings, workspace, plan.jump)
    shared_text = _recorded(config, source, config.python, settings.beside, shared_schema.variables(settings.revision))
    warmth = Warmth(auth=False)
    home = Address(host=config.server.host, port=config.server.port)

    def migrated() -> bool:
        return store.revision() != settings.revision

    def worker(context: Context) -> WarmWorker:
        warmth.begin(target_environment(old, context))
        found = warmth.take()
        assert found is not None, "it was just begun"
        return found

    head = heads.head(Role.TRACKING)
    if head is None:
        raise ReleaseError(f"MLflow {target} has no migrations")
    made: list[Step] = [
        BuildEnvironments(old, warmth),
        BackUp(old, name="back-up", title="back up everything, restore it elsewhere and compare", tag="pre-upgrade"),
        *(
            UnlessMigrated(step, migrated)
            for step in (
                ShareSchema(store.uri, settings.revision, title=f"give MLflow {source} a version table of its own"),
                StartServer(beside, name="start-beside", release=source, python=lambda _: old.old_python),
                Turn(
                    door, beside, name="move-old", title="send everybody there", to=settings.beside.address, home=home
                ),
                Record(
                    old, name="record-beside", title="record that server in liftlock.toml", before=original,
                    after=lambda _: shared_text,
                ),
                StopServer(old, name="stop-old", release=source, python=old.old_python, handle=old.old_server),
            )
        ),
        MigrateShared(store, door, worker, before=settings.revision, head=head, limit=settings.limit),
        StartServer(new, name="start-new", release=target, python=assemble.new_python),
        VerifyLive(new, target, clients=(source, target), opened_with=None, warmth=warmth),
        ShiftReads(door, settings.new.address, stay=settings.stay),
        Turn(
            door, new, name="cut-over", title=f"move the writes to MLflow {target}", to=settings.new.address,
            home=settings.beside.address,
        ),
        Record(
            old, title="record the new release in liftlock.toml", before=shared_text,
            after=lambda context: _recorded(
                config, target, assemble.new_python(context), settings.new, keep_jobs_off(plan.jump, config)
            ),
        ),
        StopServer(beside, name="stop-beside", release=source, python=old.old_python, handle=None),
    ]  # fmt: skip
    available = {step.name: step for step in made}
    return tuple(available[step.name] for step in plan.steps)


def rollback_steps(
    workspace: Workspace, jump: Jump, settings: Settings, directory: Path, *, old_python: Path, running: Config,
    current: str, earlier: Mapping[str, Payload],
) -> tuple[Step, ...]:  # fmt: skip
    """The old release takes over on the migrated database: routing, and nothing else. `workspace` is the deployment as
    the upgrade found it, `running` its liftlock.toml now.
    """
    config = workspace.config
    old = live_site(workspace, jump, None)
    door = _door(workspace, directory)
    beside = _beside(old, config, settings, workspace)
    new = replace(_new(old, config, settings, workspace, jump), old_python=running.python)
    text = _recorded(config, jump.source, old_python, settings.beside, shared_schema.variables(settings.revision))
    return (
        StartServer(beside, name="start-old", release=jump.source, python=lambda _: old_python),
        VerifyLive(beside, jump.source, clients=(jump.source,), opened_with=None, earlier=earlier),
        Turn(
            door, beside, name="cut-back", title=f"go back to MLflow {jump.source}", to=settings.beside.address,
            home=settings.new.address,
        ),
        Record(old, title="record the old release in liftlock.toml", before=current, after=lambda _: text),
        StopServer(new, name="stop-new", release=jump.target, python=running.python, handle=None),
    )  # fmt: skip


def leftover(store: Store, config: Config) -> tuple[str, ...]:
    """Revisions whose version tables nobody needs any more: of releases that do not run."""
    if store.uri.engine is not Engine.POSTGRESQL:
        return ()
    needed = shared_schema.served(config.server.environment)
    return tuple(revision for revision in shared.given(store.uri) if revision != needed)


STAYS = "but the database stays migrated: the old release serves on it, with a version table of its own"


def stays_migrated(workspace: Workspace, settings: Settings) -> bool:
    """Whether an upgrade that was put back had migrated the database before."""
    return workspace.stores[Role.TRACKING].revision() != settings.revision


def finalize(workspace: Workspace) -> None:
    """Take the old release's version table away. May be repeated."""
    store = workspace.stores[Role.TRACKING]
    for revision in leftover(store, workspace.config):
        shared.take_away(store.uri, revision)


def _door(workspace: Workspace, directory: Path) -> Door:
    return Door(gate_directory(workspace) / "control.sock", reviver(workspace), Control(directory))


def _beside(old: Site, config: Config, settings: Settings, workspace: Workspace) -> Site:
    """The old release on its own version table."""
    return _placed(old, config, settings.beside, workspace, shared_schema.variables(settings.revision))


def _new(old: Site, config: Config, settings: Settings, workspace: Workspace, jump: Jump) -> Site:
    """The new release on the same database."""
    return _placed(old, config, settings.new, workspace, keep_jobs_off(jump, config))


def _placed(old: Site, config: Config, place: Place, workspace: Workspace, environment: Mapping[str, str]) -> Site:
    overrides = Overrides(environment=environment)

    def spec(python: Path, release: Release) -> ServerSpec:
        return server_spec(
            config, python=python, release=release, host="127.0.0.1", port=place.port, overrides=overrides
        )

    runtime = ProcessRuntime(workspace.state / "servers" / place.slot)
    return replace(old, runtime=runtime, spec=spec, old_server=None)


def _recorded(config: Config, release: Release, python: Path, place: Place, environment: Mapping[str, str]) -> str:
    """liftlock.toml with one of these servers as the live one."""
    server = msgspec.structs.replace(
        config.server, release=release.version, python=str(python), host="127.0.0.1", port=place.port, slot=place.slot,
        environment={**shared_schema.without(config.server.environment), **environment},
    )  # fmt: skip
    return configuration.loads(msgspec.structs.replace(config, server=server).dumps(), config.path).dumps()
