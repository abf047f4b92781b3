"""`migrate(all)` equals `apply(translate(delta), migrate(snapshot))`: every table, every row, every column."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from liftlock.demo.postgres import PostgresServer
from liftlock.model.deployment import Role
from liftlock.stores.interface import Store
from liftlock.stores.opening import open_store
from tests.support.commuting import Writer, reference, sqlite_store, unequal, upgrading
from tests.support.releases import newest, tools

# (start, engine, random histories, operations between epochs); 3.16.1 on SQLite is the first half of the round trip.
QUICK = [("2.9.2", "postgresql", 1, 40)]
LONG = [
    (start, engine, 6, 120)
    for start in ("2.0.1", "2.9.2", "2.22.5", "3.4.0", "3.10.1", "3.16.1")
    for engine in ("sqlite", "postgresql")
]
CASES = [
    *(pytest.param(*case, id="-".join(map(str, case[:2]))) for case in QUICK),
    *(pytest.param(*case, marks=pytest.mark.soak, id="-".join(("soak", *map(str, case[:2])))) for case in LONG),
]


@pytest.mark.release
@pytest.mark.parametrize(("start", "engine", "histories", "ops"), CASES)
def test_it_commutes(
    request: pytest.FixtureRequest, tmp_path: Path, start: str, engine: str, histories: int, ops: int
) -> None:
    target = newest()
    with Writer(start) as writer, tools(target).warm() as worker:
        for seed in range(histories):
            blue = new_database(request, tmp_path, engine, f"blue{seed}{start.replace('.', '')}")
            writer.go(blue.uri, seed, ops)
            written = partial(writer.go, blue.uri, seed + 100, ops // 2)
            with upgrading(blue, worker, target, prepare=written) as upgrade:
                for epoch in range(2):
                    writer.go(blue.uri, 1000 * seed + epoch, ops)
                    assert upgrade.epoch() > 0
                assert upgrade.verify() == []
                with reference(blue, worker) as plain:
                    assert [str(each) for each in unequal(upgrade.plan, plain, upgrade.green)] == []
        # Nothing is proven by a history in which nothing happened.
        expected = {"log_batch", "create_run", "create_version", "rename_model"}
        assert expected <= writer.done.keys()
        if start >= "3":
            assert writer.done.keys() >= {"spans", "assess", "delete_trace", "logged_model"}
            assert upgrade.replaced["spans"] > 0


def new_database(request: pytest.FixtureRequest, tmp_path: Path, engine: str, name: str) -> Store:
    """An empty database for a release to make its schema in."""
    if engine == "sqlite":
        return sqlite_store(tmp_path / f"{name}.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return open_store(server.create_database(name), Role.TRACKING)
