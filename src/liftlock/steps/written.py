"""What clients wrote since the new release was opened to them: the one thing a way back must never throw away."""

from __future__ import annotations

from liftlock.engine.interface import Context
from liftlock.errors import NeedsPerson
from liftlock.model.codec import from_builtins
from liftlock.model.deployment import Role
from liftlock.model.fingerprint import Fingerprint
from liftlock.steps.site import Site

# What a running server writes by itself, without any client: leases, job bookkeeping.
HOUSEKEEPING = frozenset({"jobs", "job_locks", "scheduler_leases"})
_MEASURED = "verify-data"


def changed_since(before: Fingerprint, now: Fingerprint) -> tuple[str, ...]:
    """Tables that clients changed between two fingerprints; a server's own housekeeping and sequences left out."""
    return tuple(
        table
        for table in before.differences(now)
        if table not in HOUSEKEEPING and not table.startswith(("sqlite_", "("))
    )


def after_migration(context: Context, role: Role) -> Fingerprint:
    """The state right after the migration, as `verify-data` measured it. Raises KeyError when it was not."""
    return from_builtins(context.outcome(_MEASURED)["after"][role.value], Fingerprint)


def refuse_to_lose(site: Site, context: Context, roles: tuple[Role, ...]) -> None:
    """Raise NeedsPerson when restoring these databases would lose what clients wrote after the migration.

    Nothing is asked on a copy, nor before `verify-data`: nobody but the migration has written then.
    """
    if site.config_path is None:
        return
    measured = context.outcome(_MEASURED).get("after", {})
    written = [
        f"{role.value}.{table}"
        for role in roles
        if role.value in measured
        for table in changed_since(after_migration(context, role), site.store(role).fingerprint())
    ]
    if written:
        raise NeedsPerson(
            f"clients have written since the server was opened ({', '.join(written)})",
            hint="`liftlock rollback` lists those writes, saves them in a backup and goes back; "
            "`liftlock resume` goes on with the upgrade.",
        )
