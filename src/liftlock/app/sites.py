"""Build the site that steps act on: the live deployment, or a copy of it for a rehearsal."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

from liftlock.app.workspace import Workspace
from liftlock.artifacts.local import LocalArtifacts
from liftlock.backup.create import Sources
from liftlock.describe import options
from liftlock.describe.config import Config
from liftlock.describe.launch import Overrides, server_spec
from liftlock.describe.secrets import references as secret_names
from liftlock.model.deployment import Role
from liftlock.model.release import Jump, Release
from liftlock.model.secret import Secret
from liftlock.runtimes.interface import Handle, ServerSpec
from liftlock.runtimes.process import ProcessRuntime
from liftlock.steps.site import Site
from liftlock.stores.interface import Store

# From this release on a server runs jobs in 9 to 12 further processes (1.5 to 3 GB) unless told not to.
_JOBS_ON_SINCE = Release(version="3.9.0")
_JOBS = "MLFLOW_SERVER_ENABLE_JOB_EXECUTION"
_PASSPHRASE = "MLFLOW_CRYPTO_KEK_PASSPHRASE"  # noqa: S105 - the name of a variable


def live_site(workspace: Workspace, jump: Jump, old_server: Handle | None) -> Site:
    """The deployment itself."""
    config = workspace.config
    extra = keep_jobs_off(jump, config)

    def spec(python: Path, release: Release) -> ServerSpec:
        added = extra if release == jump.target else {}
        return server_spec(config, python=python, release=release, overrides=Overrides(environment=added))

    return Site(
        jump=jump,
        stores=workspace.stores,
        runtime=workspace.runtime,
        environments=workspace.environments,
        spec=spec,
        old_python=config.python,
        old_server=old_server,
        sources=lambda: sources(workspace),
        backup_directory=config.backup_directory,
        state_directory=workspace.state,
        config_path=config.path,
        login=config.credentials(),
        public_names=config.server.public_names,
        artifacts_destination=artifacts_destination(workspace),
    )


def rehearsal_site(workspace: Workspace, jump: Jump, directory: Path, port: int) -> Site:
    """A copy beside the deployment: scratch databases, another port, artifacts in a directory that is thrown away."""
    config = workspace.config
    scratch: dict[Role, Store] = {role: store.scratch("rehearsal") for role, store in workspace.stores.items()}
    overrides = Overrides(
        stores={role: store.uri for role, store in scratch.items()},
        artifacts_destination=str(directory / "artifacts"),
        environment=keep_jobs_off(jump, config),
        directory=directory,
    )

    def spec(python: Path, release: Release) -> ServerSpec:
        return server_spec(
            config, python=python, release=release, host="127.0.0.1", port=port, workers=1, overrides=overrides
        )

    return Site(
        jump=jump,
        stores=scratch,
        runtime=ProcessRuntime(directory / "runtime"),
        environments=workspace.environments,
        spec=spec,
        old_python=config.python,
        old_server=None,
        sources=lambda: _sources(workspace, scratch, artifacts={}),
        backup_directory=directory / "backups",
        state_directory=directory,
        config_path=None,
        login=config.credentials(),
        public_names=config.server.public_names,
        artifacts_destination=str(directory / "artifacts"),
    )


def sources(workspace: Workspace) -> Sources:
    """Everything that belongs to a backup set of the live deployment."""
    return sources_of(workspace, workspace.stores)


def sources_of(workspace: Workspace, stores: Mapping[Role, Store]) -> Sources:
    """The same with other databases."""
    roots = {root: LocalArtifacts(Path(root)) for root in workspace.config.artifacts.roots if Path(root).is_dir()}
    return _sources(workspace, stores, artifacts=roots)


def artifacts_destination(workspace: Workspace) -> str | None:
    """Where a proxying server keeps artifacts: `mlflow gc` needs to be told."""
    given = options.parse(workspace.config.server.arguments, workspace.config.server.environment)
    named = given.get("--artifacts-destination")
    if named is not None:
        return named
    roots = workspace.config.artifacts.roots
    return roots[0] if roots else None


def keep_jobs_off(jump: Jump, config: Config) -> dict[str, str]:
    """Job execution, on by default since 3.9 (it exists since 3.5), stays off as it was, unless the operator said.

    What liftlock.toml sets is never overruled.
    """
    if _JOBS in config.server.environment or not jump.source < _JOBS_ON_SINCE <= jump.target:
        return {}
    return {_JOBS: "false"}


def runs_jobs(config: Config) -> bool:
    """Whether the configured server runs MLflow's jobs."""
    said = config.server.environment.get(_JOBS)
    return config.release >= _JOBS_ON_SINCE if said is None else said.lower() not in ("false", "0")


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _sources(workspace: Workspace, stores: Mapping[Role, Store], *, artifacts: Mapping[str, LocalArtifacts]) -> Sources:
    config = workspace.config
    observed = workspace.environments.observe(config.python)
    passphrase = config.environment().get(_PASSPHRASE)
    return Sources(
        stores=dict(stores),
        artifacts=dict(artifacts),
        config=config.dumps(),
        secret_names=secret_names(config.dumps()),
        environment_lock=observed.lock,
        release=config.server.release,
        passphrase=Secret(passphrase) if passphrase else None,
    )
