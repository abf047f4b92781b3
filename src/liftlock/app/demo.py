"""`demo`: a real old MLflow with real data, checked, backed up, rehearsed, upgraded, verified and brought back.

Nothing is staged: the data is made by the old release's own client, everything goes through the same functions as
the commands, and every comparison must hold or the demo fails.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from liftlock import files
from liftlock.app import backup, rehearse, upgrade
from liftlock.app.check import check, check_after
from liftlock.app.demo_online import upgrade_under_load
from liftlock.app.demo_stages import Line, Stages
from liftlock.app.init import initialise
from liftlock.app.planning import make_plan
from liftlock.app.sites import free_port
from liftlock.app.workspace import Workspace
from liftlock.demo.server import OldServer, old_server, quicken
from liftlock.errors import LiftlockError
from liftlock.model.codec import Value
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.plan import Strategy
from liftlock.model.progress import Observer, Progress, silent
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.model.uri import Engine, StoreUri
from liftlock.releases.environment import Environment, Environments
from liftlock.releases.index import Index
from liftlock.releases.tools import PopulateSize, ReleaseTools
from liftlock.steps.written import changed_since


class DemoReport(Value, frozen=True):
    """What the demo did. `ok` only if every comparison held."""

    source: Release
    target: Release
    database: Engine
    lines: tuple[Line, ...]
    directory: str

    @property
    def ok(self) -> bool:
        """Whether every line is."""
        return all(line.ok for line in self.lines)


class DemoFailed(LiftlockError):
    """A comparison of the demo did not hold, or a stage failed."""

    exit_status = 1


def demo(
    directory: Path,
    *,
    source: str,
    target: str | None,
    database: Engine,
    strategy: Strategy = Strategy.ONLINE,
    observer: Observer = silent,
    tell: Callable[[Line], None] = lambda _: None,
) -> DemoReport:
    """Run the whole scenario in an empty directory; `tell` hears each line as it is done.

    Raises LiftlockError when a stage fails; a comparison that does not hold is in the report.
    """
    files.private_directory(directory)
    environments = Environments()
    goal = Release.parse(target) if target else Index(environments.root).newest_installable(observer)
    stages = Stages(observer, tell)
    with ExitStack() as stack:
        old = stages.run("build old release", lambda: _build(environments, source, database, observer))
        tracking, auth = stack.enter_context(_databases(directory, database, observer))
        with stages.timed(f"start MLflow {source}"):
            server = stack.enter_context(old_server(old, directory, tracking=tracking, auth=auth, port=free_port()))
        if strategy is Strategy.ONLINE:
            quicken(auth, server.password)
        stages.run("log real data", lambda: _populate(old, server, observer), str)
        workspace = stages.run("init", lambda: _init(directory, server), lambda made: str(made.config.path.name))
        stack.callback(_stop, workspace)
        if strategy is Strategy.ONLINE:
            upgrade_under_load(workspace, old, server, goal, stages, observer)
        else:
            _upgrade_and_back(workspace, goal, strategy, stages, observer)
    return DemoReport(
        source=old.release, target=goal, database=database, lines=tuple(stages.lines), directory=str(directory)
    )


def _upgrade_and_back(
    workspace: Workspace, goal: Release, strategy: Strategy, stages: Stages, observer: Observer
) -> None:
    """Check, back up, rehearse, upgrade, verify, write, roll back, verify."""
    stages.findings("check", lambda: check(workspace, before=goal.version, observer=observer))
    stages.findings("backup, restored and compared", lambda: backup.make(workspace, observer=observer).findings)
    rehearsed = stages.run(
        "rehearse on a copy",
        lambda: rehearse.rehearse(workspace, goal.version, observer=observer),
        lambda done: f"writes would be held for {done.window_seconds:.1f} s",
    )
    stages.check("rehearsal verified", rehearsed.findings)
    before = _fingerprints(workspace)
    plan = make_plan(workspace, goal.version, strategy, observer=observer)
    stages.run(
        f"upgrade to MLflow {goal}, {plan.strategy.value}",
        lambda: upgrade.upgrade(workspace, plan, observer=observer),
        lambda done: (
            f"{len(plan.jump.tracking) + len(plan.jump.auth)} migrations, "
            f"writes held for {done.write_hold_seconds:.1f} s"
        ),
    )
    upgraded = Workspace.open(workspace.config.path)
    stages.findings("verify after the upgrade", lambda: check_after(upgraded))
    _, since = upgrade.preview_rollback(upgraded)
    stages.note(
        "written since the upgrade", f"{len(since.tables)} tables" if since.tables else "nothing", ok=since.none
    )
    stages.run(
        "roll back",
        lambda: upgrade.rollback(upgraded, observer=observer),
        lambda done: f"writes held for {done.write_hold_seconds:.1f} s",
    )
    back = Workspace.open(workspace.config.path)
    stages.findings("verify after the rollback", lambda: check(back))
    after = _fingerprints(back)
    rows = sum(each.rows for each in after.values())
    # Sequences are not data: the verifying clients used ids, which no database gives out twice.
    different = [f"{role.value}.{table}" for role in before for table in changed_since(before[role], after[role])]
    stages.note(
        "databases equal to before the upgrade",
        f"differ: {', '.join(different)}" if different else f"all {rows} rows of all tables",
        ok=not different,
    )
    last = backup.listing(back).sets
    stages.note("backups kept", f"{sum(1 for one in last if one.verified_at)} of {len(last)} verified", ok=bool(last))


def _build(environments: Environments, source: str, database: Engine, observer: Observer) -> Environment:
    return environments.build(Release.parse(source), drivers={database}, observer=observer)


@contextmanager
def _databases(directory: Path, database: Engine, observer: Observer) -> Iterator[tuple[StoreUri, StoreUri]]:
    if database is Engine.SQLITE:
        yield (
            StoreUri.parse(f"sqlite:///{directory / 'mlflow.db'}"),
            StoreUri.parse(f"sqlite:///{directory / 'basic_auth.db'}"),
        )
        return
    from liftlock.demo.postgres import PostgresServer

    observer(Progress(work="start PostgreSQL"))
    with PostgresServer(directory / "postgresql") as server:
        yield server.create_database("mlflow"), server.create_database("mlflow_auth")


def _populate(old: Environment, server: OldServer, observer: Observer) -> str:
    made = ReleaseTools(old).populate(
        server.url,
        size=PopulateSize(experiments=2, runs=10, points=200, models=1, versions=2),
        username="admin",
        password=server.password,
        users=[(name, Secret(secrets.token_urlsafe(12))) for name in ("alice", "bob")],
        observer=observer,
    )
    return ", ".join(f"{number} {kind}" for kind, number in made.items() if number)


def _init(directory: Path, server: OldServer) -> Workspace:
    path = directory / "liftlock.toml"
    initialise(path, pid=server.pid, name="demo", public_names=(), force=False)
    return Workspace.open(path)


def _stop(workspace: Workspace) -> None:
    latest = Workspace.open(workspace.config.path)
    handle = latest.runtime.find()
    if handle is not None:
        latest.runtime.stop(handle)


def _fingerprints(workspace: Workspace) -> dict[Role, Fingerprint]:
    return {role: store.fingerprint() for role, store in workspace.stores.items()}
