"""Whether a release can go on working on a database that was migrated under it: from what each revision was seen doing.

An old release reads and writes the tables it knows. It can share them with a newer one when the revisions between
only add to them; what computes new values from its rows would miss every row it writes afterwards.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from liftlock.knowledge.revisions import Fill, Revision, jump
from liftlock.model.deployment import Role


def obstacles(role: Role, revisions: Iterable[str], tables: Collection[str]) -> tuple[str, ...]:
    """Why a release whose database has these tables cannot live on it after these revisions; empty where it can.

    Pure. One sentence per revision that is in the way, in their order.
    """
    known = frozenset(tables)
    found = ((step, list(_done_to(step, known))) for step in jump(role, revisions))
    return tuple(f"revision {step.id} {', '.join(done)}" for step, done in found if done)


def _done_to(step: Revision, tables: frozenset[str]) -> Iterator[str]:
    recorded = step.recorded
    if recorded is None:
        yield "was never recorded, so nobody knows what it does"
        return
    if gone := sorted(tables & set(recorded.dropped)):
        yield f"drops {', '.join(gone)}"
    for table in sorted(tables & set(recorded.renamed)):
        yield f"renames columns of {table}"
    for table in sorted(tables & set(recorded.removed)):
        yield f"drops columns of {table}"
    for table in sorted(tables & set(recorded.added)):
        if Fill.COMPUTED in recorded.added[table].values():
            yield f"computes columns of {table}"
    if read := sorted(tables & set(recorded.reads)):
        yield f"reads rows of {', '.join(read)}"
    if moved := sorted(tables & (set(recorded.changed) | set(recorded.writes))):
        yield f"changes rows of {', '.join(moved)}"
