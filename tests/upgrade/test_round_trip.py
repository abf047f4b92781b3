"""There and back on real releases: up it equals a plain migration; what was written on the new release is in the old
database or parked, and comes again.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg
import pytest

from liftlock.model.uri import Engine
from liftlock.online.inverse import Reverse
from liftlock.online.parking import Parking, unpark
from liftlock.stores.live import Live
from tests.support.commuting import Upgrade, Writer, reference, rows_of, unequal, upgrading
from tests.support.releases import newest, tools
from tests.upgrade.test_commuting import new_database

QUICK = [("3.16.1", "sqlite")]
LONG = [(start, engine) for start in ("2.9.2", "2.22.5", "3.4.0", "3.16.1") for engine in ("sqlite", "postgresql")]
CASES = [
    *(pytest.param(*case, id="-".join(case)) for case in QUICK),
    *(pytest.param(*case, marks=pytest.mark.soak, id="-".join(("soak", *case))) for case in LONG),
]


@pytest.mark.release
@pytest.mark.parametrize(("start", "engine"), CASES)
def test_nothing_is_lost_on_the_way_back_and_up_again(
    request: pytest.FixtureRequest, tmp_path: Path, start: str, engine: str
) -> None:
    target = newest()
    blue = new_database(request, tmp_path, engine, f"back{start.replace('.', '')}")
    parking = Parking(tmp_path / "parking.db")
    with Writer(start) as old, Writer(target) as new, tools(target).warm() as worker:
        old.go(blue.uri, 1, 80)
        with upgrading(blue, worker, target, prepare=partial(old.go, blue.uri, 3, 20)) as upgrade:
            for seed in (4, 5):
                old.go(blue.uri, seed, 60)
                assert upgrade.epoch() > 0
            assert upgrade.verify() == []
            with reference(blue, worker) as plain:
                assert [str(each) for each in unequal(upgrade.plan, plain, upgrade.green)] == []
            if start == "3.16.1":  # nothing is proven by a history in which nothing happened
                assert old.done.keys() >= {"spans", "assess", "delete_trace", "logged_model", "erase_run", "job"}
                assert upgrade.replaced["spans"] > 0

            upgrade.green.capture()
            rules = Reverse(upgrade.plan, upgrade.blue.shapes(), upgrade.green.shapes(), parking)

            before = _content(upgrade.blue)
            _touch_everything(upgrade.green)
            assert _back(upgrade, rules) > 50
            # Nobody changed anything, so nothing is otherwise than it was, to the letter.
            assert _content(upgrade.blue) == before
            # (The row that the migration made of nothing is parked, and will be found there again.)
            assert parking.counts().keys() <= {"workspaces"}

            for seed in (11, 12):
                # Moving an assessment by SQL leaves what the new release keeps of its trace beside it as it was.
                new.go(upgrade.green.store.uri, seed, 100, {"move_assessment": 0})
                _write_what_only_the_new_schema_holds(upgrade.green)
                assert _back(upgrade, rules) > 0
            assert blue.check_integrity() == ()
            assert parking.counts().keys() >= {"scheduler_leases", "jobs"}
            assert (tmp_path / "parking.db").stat().st_mode & 0o777 == 0o600

            # Up again: what the old schema could hold goes through the migration, the rest comes from the parking.
            with reference(blue, worker) as again:
                with again.applying() as rows:
                    result, done = unpark(parking, rows, again.shapes())
                assert [(str(entry), why) for entry, why in result.conflicts] == []
                # Unfinished jobs are cancelled by every upgrade, by this second one too.
                skip = upgrade.plan.rewrites
                assert unequal(upgrade.plan, upgrade.green, again, skip=skip) == []
                parking.forget(done)
                assert parking.counts() == {}
            # And the old release goes on working on what it has.
            old.done.clear()
            old.go(blue.uri, 2, 40)
            assert sum(old.done.values()) > 10


def _back(upgrade: Upgrade, rules: Reverse) -> int:
    with upgrade.green.changes() as view:
        keys = sum(map(len, view.changed.values()))
        delta = rules.read(view)
        token = view.token
    replacement = rules.expected(delta)
    with upgrade.blue.applying() as target:
        rules.apply(replacement, target)
        assert rules.differences(replacement, target) == []
    upgrade.green.consume(token)
    return keys


def _touch_everything(green: Live) -> None:
    """Every row is changed to what it is."""
    _execute(
        green,
        *(f'UPDATE "{name}" SET "{shape.columns[0]}" = "{shape.columns[0]}"' for name, shape in green.shapes().items()),
    )


def _write_what_only_the_new_schema_holds(green: Live) -> None:
    _execute(
        green,
        "DELETE FROM scheduler_leases",
        "INSERT INTO scheduler_leases (lease_key, acquired_at, ttl_seconds) VALUES ('lease', 1, 2)",
        "UPDATE jobs SET status_message = 'Ünïcödé'",
    )


def _execute(database: Live, *statements: str) -> None:
    if database.store.uri.engine is Engine.SQLITE:
        with closing(sqlite3.connect(database.store.uri.path)) as file, file:
            for statement in statements:
                file.execute(statement)
        return
    with psycopg.connect(database.store.uri.reveal()) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def _content(database: Live) -> dict[str, list[tuple[object, ...]]]:
    """All rows, but those of jobs: unfinished ones were cancelled by the upgrade, and are so when they come back."""
    return {name: rows_of(database, name) for name in database.shapes() if name != "jobs"}
