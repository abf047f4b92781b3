"""What was written since an upgrade: listed before a rollback puts it away (into a backup, never into nothing)."""

from __future__ import annotations

from datetime import datetime

from liftlock.app.workspace import Workspace
from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.journal import RunState
from liftlock.steps.sides import Sides
from liftlock.steps.written import HOUSEKEEPING, changed_since

_LISTED = 20


class WritesSince(Value, frozen=True):
    """Changed tables (row counts before and now), and the newest runs and model versions made since.

    With `carried` (an online upgrade) the counts are the rows that may have changed, twice, and a rollback keeps them.
    With `shared` (a rolling one) nothing has to be carried: both releases use one database.
    """

    opened_at: datetime | None
    tables: dict[str, tuple[int, int]]
    runs: tuple[str, ...]
    models: tuple[str, ...]
    carried: bool = False
    shared: bool = False

    @property
    def none(self) -> bool:
        """Whether nobody wrote."""
        return not self.tables


def captured_since(both: Sides, state: RunState) -> WritesSince:
    """What the new side's capture holds. Raises StoreError when it cannot be read."""
    tables: dict[str, tuple[int, int]] = {}
    for role, green in both.green.items():
        with green.look() as view:
            for table, keys in view.changed.items():
                if keys and table not in HOUSEKEEPING:
                    tables[f"{role.value}.{table}"] = (len(keys), len(keys))
    cut = state.step("cut-over")
    return WritesSince(opened_at=cut.ended_at if cut else None, tables=tables, runs=(), models=(), carried=True)


def nothing_lost(state: RunState) -> WritesSince:
    """After a rolling upgrade: whatever was written is where the old release finds it."""
    cut = state.step("cut-over")
    return WritesSince(opened_at=cut.ended_at if cut else None, tables={}, runs=(), models=(), shared=True)


def writes_since(workspace: Workspace, state: RunState) -> WritesSince:
    """Compare the databases with their state right after the migration. Raises StoreError when they cannot be read."""
    verified = state.step("verify-data")
    started = state.step("start-new")
    opened = started.outcome.get("opened_at") if started else None
    opened_at = datetime.fromisoformat(str(opened)) if opened else None
    after = verified.outcome.get("after", {}) if verified else {}
    tables: dict[str, tuple[int, int]] = {}
    for role, store in workspace.stores.items():
        if role.value not in after:
            continue
        before = from_builtins(after[role.value], Fingerprint)
        now = store.fingerprint()
        for name in changed_since(before, now):
            old, new = before.table(name), now.table(name)
            tables[f"{role.value}.{name}"] = (old.rows if old else 0, new.rows if new else 0)
    # Clients came as soon as the server listened, a little before its health was seen.
    since = int(started.started_at.timestamp() * 1000) if started else 0
    tracking = workspace.stores[Role.TRACKING]
    if not tables or not opened_at:
        return WritesSince(opened_at=opened_at, tables=tables, runs=(), models=())
    runs = tracking.rows(
        "SELECT run_uuid, name FROM runs WHERE start_time >= :since ORDER BY start_time DESC", {"since": since}
    )
    models = tracking.rows(
        "SELECT name, version FROM model_versions WHERE creation_time >= :since ORDER BY creation_time DESC",
        {"since": since},
    )
    return WritesSince(
        opened_at=opened_at,
        tables=tables,
        runs=tuple(
            f"{row['run_uuid']} {row['name'] or ''}".strip() for row, _ in zip(runs, range(_LISTED), strict=False)
        ),
        models=tuple(f"{row['name']} {row['version']}" for row, _ in zip(models, range(_LISTED), strict=False)),
    )
