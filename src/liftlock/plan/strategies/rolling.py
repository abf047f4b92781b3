"""`rolling`: one PostgreSQL database for both releases, migrated under the old one; traffic moves little by little."""

from __future__ import annotations

from liftlock.knowledge import additive
from liftlock.model.deployment import Role
from liftlock.model.plan import Reversibility, Strategy
from liftlock.model.uri import Engine
from liftlock.plan.estimates import growth
from liftlock.plan.situation import Situation
from liftlock.plan.strategies.interface import Outline

STRATEGY = Strategy.ROLLING
POINT_OF_NO_RETURN = "none for the release; the schema stays migrated once migrate-tracking is done"
STALL_LIMIT = 4.0
"""Seconds for which the migration may keep everybody waiting: it is one transaction, for readers too."""
WORTH_IT = 1.0
"""Seconds of stall up to which it is chosen before `online`, which holds writes alone, and for less."""


def offered(situation: Situation) -> str:
    """Where both releases can live on one database, as a rehearsal with the old one has shown; else why not."""
    jump = situation.jump
    if not jump.tracking and not jump.auth:
        return "no migration lies between the releases, a restart is enough"
    store = situation.deployment.store(Role.TRACKING)
    if store is None or store.engine is not Engine.POSTGRESQL:
        return "only PostgreSQL migrates in one transaction and can show each release its own revision"
    if not situation.gate:
        return "no gate stands in front of the server to move traffic little by little"
    if jump.auth:
        return f"the auth database changes too ({len(jump.auth)} migrations); two releases cannot share it"
    found = (
        *situation.rolling_obstacles,
        *additive.obstacles(Role.TRACKING, jump.tracking, [table.name for table in store.tables]),
    )
    if found:
        return found[0] + (f" (and {len(found) - 1} more)" if len(found) > 1 else "")
    rehearsed = situation.rehearsed
    if rehearsed is None or rehearsed.jump != jump or rehearsed.beside is None:
        return "it was not rehearsed with the old release on the migrated database (`liftlock rehearse`)"
    if rehearsed.beside:
        return f"in the rehearsal the old release did not work on the migrated database: {rehearsed.beside}"
    if (stall := stall_seconds(situation)) > STALL_LIMIT:
        return f"the migration would stall everybody for {stall:.1f} s (rehearsed), more than {STALL_LIMIT:g} s"
    return ""


def second_thoughts(situation: Situation) -> str:
    """Why it is not chosen by itself although it could be; empty where it is."""
    stall = stall_seconds(situation)
    if stall <= WORTH_IT or situation.online_obstacles:
        return ""
    return (
        f"rolling is possible (--strategy rolling), but would stall readers and writers for {stall:.1f} s (rehearsed); "
        "online holds writes alone, for the switch"
    )


def stall_seconds(situation: Situation) -> float:
    """How long the migration keeps everybody waiting: as rehearsed, more where the database grew since."""
    known = situation.rehearsed
    assert known is not None, "asked only where it was rehearsed"
    return known.seconds.get("migrate-tracking", 0.0) * growth(situation, known)


def outline(situation: Situation) -> tuple[Outline, ...]:
    """The steps, in order."""
    source, target = situation.jump.source, situation.jump.target
    undo = Reversibility.UNDO
    return (
        Outline("build-environments", "build and prove both releases' environments", undo, False),
        Outline("back-up", "back up everything, restore it elsewhere and compare", undo, False),
        Outline("share-schema", f"give MLflow {source} a version table of its own", undo, False),
        Outline("start-beside", f"start MLflow {source} once more, on that table", undo, False),
        Outline("move-old", "send everybody there", undo, True),
        Outline("record-beside", "record that server in liftlock.toml", undo, False),
        Outline("stop-old", f"stop the first MLflow {source}", undo, False),
        Outline("migrate-tracking", "migrate the database under it, in one transaction", undo, True),
        Outline("start-new", f"start MLflow {target} beside {source}", undo, False),
        Outline("verify-live", "verify the new server with real clients", undo, False),
        Outline("shift-reads", "move 1, 10, 50 and 100 % of the reads", undo, False),
        Outline("cut-over", "move the writes", undo, True),
        Outline("record", "record the new release in liftlock.toml", undo, False),
        Outline("stop-beside", f"stop MLflow {source}", undo, False),
    )
