"""`status`: the deployment, the run in progress, the rollback window, the last backup. Quick: no release is started."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from liftlock.app.workspace import Workspace
from liftlock.engine.lock import Owner
from liftlock.errors import LiftlockError
from liftlock.model.codec import Value
from liftlock.model.journal import Kind, RunKind, RunOutcome, RunState
from liftlock.online.control import Control, Stand
from liftlock.runtimes.interface import Handle


class RunLine(Value, frozen=True):
    """One run in short: the step it is at (or was cut off in) and how it ended."""

    id: str
    kind: RunKind
    outcome: RunOutcome
    operator: str
    started_at: datetime
    step: str
    message: str


class StoreLine(Value, frozen=True):
    """One database in short."""

    role: str
    uri: str
    revision: str | None
    problem: str = ""


class ProcessLine(Value, frozen=True):
    """One process of ours: `role` is server, old server, new server, gate or upgrade."""

    role: str
    pid: int
    at: str = ""


class Status(Value, frozen=True):
    """What `liftlock status` shows. `stand` is how far a running online upgrade is."""

    name: str
    release: str
    url: str
    server_pid: int | None
    stores: tuple[StoreLine, ...]
    at_work: Owner | None
    open_run: RunLine | None
    rollback_window: RunLine | None
    last_backup: str | None
    last_backup_verified: bool
    backups: int
    processes: tuple[ProcessLine, ...] = ()
    stand: Stand | None = None


def status(workspace: Workspace) -> Status:
    """Look at the state directory, the server's record and the databases' revisions; nothing is started or changed."""
    from liftlock.backup.catalog import list_sets

    config = workspace.config
    runs = workspace.journal.runs()
    sets = list_sets(config.backup_directory).sets
    last = sets[-1] if sets else None
    window = [state for state in runs if state.kind is RunKind.UPGRADE and state.outcome is not RunOutcome.PUT_BACK]
    server = workspace.server()
    opened = next((state for state in reversed(runs) if state.outcome is RunOutcome.OPEN), None)
    # Runs with two servers at once tell how far they are.
    told = opened if opened is not None and {"online", "rolling"} & opened.payload.keys() else None
    owner = workspace.holder()
    return Status(
        name=config.name,
        release=config.server.release,
        url=f"http://{config.server.host}:{config.server.port}",
        server_pid=server.pid if server else None,
        stores=tuple(_store(workspace, index) for index in range(len(workspace.stores))),
        at_work=owner,
        open_run=_line(opened) if opened else None,
        rollback_window=_line(window[-1]) if window and window[-1].outcome is RunOutcome.DONE else None,
        last_backup=last.id if last else None,
        last_backup_verified=last is not None and last.verified_at is not None,
        backups=len(sets),
        processes=_processes(workspace, server, owner, side_by_side=told is not None),
        stand=Control(workspace.run_directory(told)).stand() if told is not None else None,
    )


def _processes(
    workspace: Workspace, server: Handle | None, owner: Owner | None, *, side_by_side: bool
) -> tuple[ProcessLine, ...]:
    """Everything of ours that runs, found by record, never by name."""
    found: list[ProcessLine] = []
    if server is not None:
        found.append(ProcessLine(role="server", pid=server.pid, at=f"{workspace.config.server.port}"))
    if side_by_side:
        from liftlock.runtimes.process import ProcessRuntime

        for place in sorted((workspace.config.state_directory / "servers").glob("*/server.json")):
            other = ProcessRuntime(place.parent).find()
            if other is not None and other != server:
                found.append(ProcessLine(role="new server", pid=other.pid, at=place.parent.name))
    socket = workspace.config.state_directory / "gate" / "control.sock"
    if socket.exists():
        from liftlock.gate.client import GateClient
        from liftlock.gate.model import GateError

        with GateClient(socket) as client, suppress(GateError):
            reply = client.status()
            found.append(ProcessLine(role="gate", pid=reply.pid, at=f"{reply.state.phase}, to {reply.state.upstream}"))
    if owner is not None:
        found.append(ProcessLine(role="upgrade", pid=owner.pid, at=owner.doing))
    return tuple(found)


def _store(workspace: Workspace, index: int) -> StoreLine:
    role, store = list(workspace.stores.items())[index]
    try:
        return StoreLine(role=role.value, uri=str(store.uri), revision=store.revision())
    except LiftlockError as error:
        return StoreLine(role=role.value, uri=str(store.uri), revision=None, problem=error.message)


def _line(state: RunState) -> RunLine:
    unfinished = [step for step in state.steps if step.last not in (Kind.DONE, Kind.UNDONE)]
    at = unfinished[-1].name if unfinished else (state.steps[-1].name if state.steps else "")
    return RunLine(
        id=state.id,
        kind=state.kind,
        outcome=state.outcome,
        operator=state.operator,
        started_at=state.started_at,
        step=at,
        message=state.message,
    )
