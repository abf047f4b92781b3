"""The rolling upgrade on real releases: both live on one database while real old clients write to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from liftlock.app import upgrade
from liftlock.app.lives import Wishes
from liftlock.app.planning import make_plan
from liftlock.app.rehearse import rehearse
from liftlock.model.deployment import Role
from liftlock.model.plan import Strategy
from liftlock.model.uri import Engine
from liftlock.stores import postgresql_shared as shared
from tests.support import releases
from tests.support.upgrades import copied, migrated_by_hand
from tests.upgrade.test_online import lossless, story

pytestmark = pytest.mark.xdist_group("online")


@pytest.mark.parametrize(
    ("version", "target"),
    [("2.9.2", None), pytest.param("3.13.0", "3.16.1", marks=pytest.mark.soak)],
    ids=["2.9.2-newest", "3.13.0-3.16.1"],
)
def test_there_and_back_on_one_database(version: str, target: str | None, tmp_path: Path) -> None:
    target = target or releases.newest()
    with story(version, tmp_path, Engine.POSTGRESQL) as told:
        oracle = migrated_by_hand(copied(told.tracking.uri, Role.TRACKING, told.server), Role.TRACKING, target)
        rehearse(told.workspace, target)
        plan = make_plan(told.workspace, target, Strategy.ROLLING)
        done = upgrade.upgrade(told.workspace, plan, wishes=Wishes(stay=1.0))
        assert done.results["migrate-tracking"]["hold"] < 8
        assert [stage["failed"] for stage in done.results["shift-reads"]["stages"]] == [0, 0, 0, 0]
        told.load.await_writes(20)
        assert told.workspace.config.server.release == target
        upgrade.rollback(told.workspace)
        told.load.await_writes(20)
        assert told.workspace.config.server.release == version
        assert lossless(told.judge())
        (revision,) = shared.given(told.tracking.uri)
        shared.take_away(told.tracking.uri, revision)
        assert told.tracking.schema_dump() == oracle.schema_dump()
