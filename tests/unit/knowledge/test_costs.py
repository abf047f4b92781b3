"""What revisions cost, lock and fail on: as measured, held against measurements made elsewhere, and worked out from."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.record_costs import merged, text
from liftlock.knowledge import costs, revisions
from liftlock.knowledge.costs import Load
from liftlock.model.codec import from_json
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.uri import Engine
from liftlock.releases.environment import Environments
from liftlock.releases.worker import Worker

ENGINES = (Engine.SQLITE, Engine.POSTGRESQL)
METRICS, TRACES = "a5b4c3d2e1f0", "75868b020152"


@pytest.mark.parametrize("role", [Role.TRACKING, Role.AUTH])
def test_every_revision_that_is_known_was_measured_on_both_engines(role: Role) -> None:
    for name in revisions.known(role):
        cost = costs.cost(role, name)
        assert cost is not None, name
        assert cost.day and cost.release
        assert cost.engines.keys() == set(ENGINES), name
        for engine, found in cost.engines.items():
            assert found.version.lower().startswith(engine.value)
            assert 0 < found.base < 2
            for load in found.loads:
                assert len(load.rows) == len(load.seconds) >= 2
                assert list(load.rows) == sorted(set(load.rows))
                assert load.rows[-1] >= 3 * load.rows[0]
                assert min(load.seconds) >= 0
                assert list(load.seconds) == sorted(load.seconds)


def test_an_id_in_two_chains_has_two_costs() -> None:
    tracking, auth = costs.cost(Role.TRACKING, "a1b2c3d4e5f6"), costs.cost(Role.AUTH, "a1b2c3d4e5f6")
    assert tracking is not None and auth is not None and tracking != auth


@pytest.mark.parametrize(
    ("revision", "rows", "engine", "took"),
    [
        # Measured on another day, with whole `mlflow db upgrade` runs on a quiet machine of the same kind.
        (METRICS, {"metrics": 10_000_543}, Engine.SQLITE, 6.6),
        (METRICS, {"metrics": 10_000_543}, Engine.POSTGRESQL, 10.2),
        (METRICS, {"metrics": 1_000_543}, Engine.SQLITE, 0.58),
        (METRICS, {"metrics": 1_000_543}, Engine.POSTGRESQL, 1.66),
        (TRACES, {"trace_info": 20_000, "spans": 100_000}, Engine.SQLITE, 15.0),
        (TRACES, {"trace_info": 100_000, "spans": 500_000}, Engine.SQLITE, 188.0),
    ],
)  # fmt: skip
def test_what_was_measured_elsewhere_lies_in_the_range(
    revision: str, rows: dict[str, int], engine: Engine, took: float
) -> None:
    price = costs.price(Role.TRACKING, revision, rows, engine)
    assert price is not None
    assert price.low <= took <= price.high
    assert price.high <= 10 * price.low + 1, "a range that says something"
    assert "s per million of" in price.basis and engine.value in price.basis.lower()


def test_what_nobody_measured_has_no_price() -> None:
    assert costs.price(Role.TRACKING, "0123456789ab", {}, Engine.SQLITE) is None
    assert costs.price(Role.TRACKING, METRICS, {}, Engine.MYSQL) is None
    assert costs.together(Role.TRACKING, [METRICS, "0123456789ab"], {}, Engine.SQLITE) is None
    assert costs.together(Role.TRACKING, [], {}, Engine.SQLITE) == (0.0, 0.0)


def test_locks_and_aborts_as_they_were_seen() -> None:
    def seen(name: str, engine: Engine) -> costs.Measured:
        found = costs.measured(Role.TRACKING, name, engine)
        assert found is not None
        return found

    index = seen(METRICS, Engine.POSTGRESQL)
    assert index.locked({"metrics": 5}) == {"writers": ("metrics",)}, "an index is built while people read"
    assert index.locked({}) == {}, "a lock on an empty table is in nobody's way"
    everybody = seen("1b5f0d9ad7c1", Engine.POSTGRESQL).locked({"experiments": 1, "registered_models": 1, "runs": 1})
    assert {"experiments", "registered_models"} <= set(everybody["everybody"])
    for engine in ENGINES:
        planted = {each.planted for each in seen(TRACES, engine).aborts}
        assert "a row of spans whose trace_id names no row of trace_info" in planted
        assert any(each.startswith("spans.dimension_attributes that is JSON of another shape") for each in planted)
    # What MLflow's own source says when it gives up.
    errors = [each.error for each in seen(TRACES, Engine.SQLITE).aborts]
    assert any(
        "Cannot backfill trace analytics: spans row references missing trace_info row" in each for each in errors
    )
    left = seen("f5a4f2784254", Engine.SQLITE).aborts
    assert [each.error for each in left] == ["OperationalError: table _alembic_tmp_tags already exists"]
    assert seen("f5a4f2784254", Engine.POSTGRESQL).aborts == ()


def test_what_hangs_on_traces_counts_as_traces() -> None:
    load = Load(of="trace_info", rows=(10, 40), seconds=(1.0, 8.0), per={"spans": 5})
    assert load.size({"trace_info": 20, "spans": 100}) == 20
    assert load.size({"trace_info": 20, "spans": 400}) == 80
    assert load.size({}) == 0


loads = st.builds(
    lambda rows, seconds: Load(of="t", rows=tuple(sorted(rows)), seconds=tuple(sorted(seconds[: len(rows)]))),
    st.sets(st.integers(1, 10**6), min_size=2, max_size=3),
    st.lists(st.floats(0, 1000), min_size=3, max_size=3),
)


@given(loads, st.integers(0, 10**8), st.integers(0, 10**8))
def test_more_rows_never_take_less_time_nor_more_than_their_square(load: Load, one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert load.at(0) == 0
    assert [load.at(rows) for rows in load.rows] == pytest.approx(load.seconds)
    assert load.at(few) <= load.at(many) * (1 + 1e-9) + 1e-9
    assert load.at_least(many) <= load.at(many)
    if few >= load.rows[-1]:
        assert load.at(many) <= load.at(few) * (many / few) ** 2 * (1 + 1e-9) + 1e-9


def test_measuring_one_again_leaves_the_others_alone() -> None:
    table = costs.load()
    known = table.revisions[3]
    again = {"id": known.id, "version": "SQLite 9.9", "base": 0.5, "loads": [], "locks": {}, "aborts": []}
    found = from_json(text(merged(table, again, known.chain, Engine.SQLITE, "9.9.9")), costs.Table)
    assert [(each.chain, each.id) for each in found.revisions] == [(each.chain, each.id) for each in table.revisions]
    changed = [new for new, old in zip(found.revisions, table.revisions, strict=True) if new != old]
    assert [(each.id, each.release, each.engines[Engine.SQLITE].base) for each in changed] == [(known.id, "9.9.9", 0.5)]
    assert changed[0].engines[Engine.POSTGRESQL] == known.engines[Engine.POSTGRESQL]


@pytest.mark.soak
@pytest.mark.release
def test_a_revision_measured_anew_agrees_with_what_is_shipped(tmp_path: Path) -> None:
    environment = Environments().build(Release.parse("3.17.2"))
    found: list[dict[str, object]] = []
    arguments = {"uri": f"sqlite:///{tmp_path}/x.db", "chain": "tracking", "only": ["f5a4f2784254"], "scripts": None}
    with Worker(environment.python, "MLflow 3.17.2") as worker:
        worker.call("cost", "measure", arguments, timeout=600, progress=found.append)
    (one,) = found
    shipped = costs.measured(Role.TRACKING, "f5a4f2784254", Engine.SQLITE)
    assert shipped is not None
    again = msgspec.convert({name: value for name, value in one.items() if name != "id"}, costs.Measured)
    assert again.aborts == shipped.aborts
    assert [(each.of, each.rows) for each in again.loads] == [(each.of, each.rows) for each in shipped.loads]
    assert 1 / 3 < again.loads[0].at(100_000) / shipped.loads[0].at(100_000) < 3
