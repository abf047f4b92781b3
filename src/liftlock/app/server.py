"""`server`: start, stop, restart, scale and read the configured server, under the lock."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from liftlock.app.workspace import Workspace
from liftlock.describe.launch import server_spec
from liftlock.errors import Refused, UsageError
from liftlock.model import shared_schema
from liftlock.model.deployment import Role
from liftlock.runtimes.interface import Handle


def start(workspace: Workspace) -> Handle:
    """Start the configured release on the configured databases, unless it would migrate them by starting.

    Raises Refused when a server runs already or a database is not at the head this release expects.
    """
    with workspace.lock("server start"):
        workspace.require_no_run()
        if workspace.server() is not None:
            raise Refused("the server runs already", hint="See `liftlock status`.")
        return _start(workspace)


def stop(workspace: Workspace) -> Handle | None:
    """Stop the server with all its workers; what ran, or None."""
    with workspace.lock("server stop"):
        workspace.require_no_run()
        handle = workspace.server()
        if handle is not None:
            workspace.runtime.stop(handle)
        return handle


def restart(workspace: Workspace) -> Handle:
    """Stop and start."""
    with workspace.lock("server restart"):
        workspace.require_no_run()
        handle = workspace.server()
        if handle is not None:
            workspace.runtime.stop(handle)
        return _start(workspace)


def scale(workspace: Workspace, workers: int) -> Handle:
    """Run with another number of workers from now on: recorded in liftlock.toml, then restarted."""
    if workers < 1:
        raise UsageError("a server needs at least one worker")
    with workspace.lock("server scale"):
        workspace.require_no_run()
        config = workspace.config
        changed = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, workers=workers))
        changed.save()
        scaled = Workspace(changed)
        handle = scaled.server()
        if handle is not None:
            scaled.runtime.stop(handle)
        return _start(scaled)


def logs(workspace: Workspace, *, follow: bool, lines: int) -> Iterator[str]:
    """The log of the server liftlock started, redacted."""
    return workspace.runtime.logs(follow=follow, lines=lines)


def _start(workspace: Workspace) -> Handle:
    from liftlock.releases.tools import ReleaseTools

    config = workspace.config
    heads = ReleaseTools(workspace.environments.observe(config.python)).heads()
    # After a rolling upgrade was taken back, the old release looks at a version table of its own.
    served = shared_schema.served(config.server.environment)
    for role, store in workspace.stores.items():
        revision = store.revision() if store.exists() else None
        if served is not None and role is Role.TRACKING:
            revision = served
        if revision is not None and revision != heads.head(role):
            raise Refused(
                f"the {role.value} database is at {revision}, MLflow {config.release} expects {heads.head(role)}: "
                "starting it would migrate the database or fail",
                hint="Upgrade with `liftlock upgrade`, or go back with `liftlock rollback`.",
            )
    return workspace.runtime.start(server_spec(config, python=config.python, release=config.release))
