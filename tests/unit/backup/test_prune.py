from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftlock.backup import catalog
from liftlock.backup.layout import write_manifest
from liftlock.backup.prune import plan_prune, prune
from liftlock.errors import BackupError
from liftlock.model.snapshot import BackupSet

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def _set(age: float, *, verified: bool = True, keep: bool = False, by: str | None = None) -> BackupSet:
    made = NOW - timedelta(days=age)
    return BackupSet(
        id=f"{made:%Y%m%dT%H%M%S%f}", created_at=made, release="2.9.2", tags=(), stores=(), artifacts=(), files=(),
        verified_at=made if verified else None, keep=keep, kept_by=by,
    )  # fmt: skip


def test_rules_hold_by_count_and_by_age() -> None:
    sets = [_set(age) for age in (1, 2, 3, 4, 5)]
    assert plan_prune(sets, keep_last=2, keep_days=None, now=NOW).remove == (sets[4].id, sets[3].id, sets[2].id)
    assert plan_prune(sets, keep_last=None, keep_days=4, now=NOW).remove == (sets[4].id, sets[3].id)
    assert plan_prune(sets, keep_last=1, keep_days=3, now=NOW).remove == (sets[4].id, sets[3].id, sets[2].id)
    assert plan_prune(sets, keep_last=None, keep_days=None, now=NOW).remove == ()


def test_marks_hold_and_say_for_whom() -> None:
    held, mine = _set(9, keep=True, by="upgrade 7"), _set(8, keep=True)
    plan = plan_prune([held, mine, _set(1), _set(7)], keep_last=0, keep_days=None, now=NOW)
    assert plan.keep[held.id] == "kept by upgrade 7"
    assert plan.keep[mine.id] == "marked to be kept"
    assert plan.remove == (_set(7).id,)


def test_the_only_verified_set_stays_however_old() -> None:
    old, young = _set(300), _set(1, verified=False)
    plan = plan_prune([old, young], keep_last=0, keep_days=0, now=NOW)
    assert plan.keep == {old.id: "the newest verified set"}
    assert plan.remove == (young.id,)
    assert plan_prune([young], keep_last=0, keep_days=0, now=NOW).remove == ()


@given(
    st.lists(st.tuples(st.floats(0, 400), st.booleans(), st.booleans()), max_size=12),
    st.none() | st.integers(0, 5),
    st.none() | st.integers(0, 300),
)
def test_nothing_that_must_stay_ever_goes(
    ages: list[tuple[float, bool, bool]], last: int | None, days: int | None
) -> None:
    sets = list({one.id: one for one in (_set(age, verified=v, keep=k) for age, v, k in ages)}.values())
    plan = plan_prune(sets, keep_last=last, keep_days=days, now=NOW)
    assert sorted([*plan.remove, *plan.keep]) == sorted(one.id for one in sets)
    left = [one for one in sets if one.id in plan.keep]
    assert bool(left) == bool(sets)
    assert any(one.verified_at for one in left) == any(one.verified_at for one in sets)
    assert all(one.id in plan.keep for one in sets if one.keep)
    newest = sorted(sets, key=lambda one: one.created_at, reverse=True)
    assert all(one.id in plan.keep for one in newest[: last or 0])
    assert days is None or all(one.id in plan.keep for one in sets if NOW - one.created_at < timedelta(days=days))


def test_sets_go_whole_damaged_ones_and_strangers_stay(tmp_path: Path) -> None:
    for one in (_set(3), _set(2), _set(1)):
        (tmp_path / one.id).mkdir()
        write_manifest(tmp_path / one.id, one)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/manifest.json").write_text("{}")
    (tmp_path / "mine").mkdir()
    (tmp_path / f"{_set(4).id}.removing").mkdir()
    (tmp_path / "new.partial").mkdir()
    done = prune(tmp_path, keep_last=1, keep_days=None, now=NOW)
    assert done.removed == (_set(3).id, _set(2).id)
    assert done.leftovers == (f"{_set(4).id}.removing",)
    assert {path.name for path in tmp_path.iterdir()} == {_set(1).id, "damaged", "mine", "new.partial"}


def test_marking_a_set_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackupError):
        catalog.set_keep(tmp_path, "nope", keep=True)
    one = _set(1)
    (tmp_path / one.id).mkdir()
    write_manifest(tmp_path / one.id, one)
    assert catalog.set_keep(tmp_path, one.id, keep=True, by="upgrade 1").kept_by == "upgrade 1"
    assert catalog.find(tmp_path, one.id).keep
    assert catalog.set_keep(tmp_path, one.id, keep=False).kept_by is None
