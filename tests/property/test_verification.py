"""The walk over all rows, in views that are short and compared together, with people who write between them."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from liftlock import clock
from liftlock.errors import StoreError
from liftlock.model.deployment import Role
from liftlock.online import aligned, delta, verification
from liftlock.online.control import Control
from liftlock.online.converge import Pace
from liftlock.online.delta import Part
from liftlock.online.flow import Flow
from liftlock.online.translate import Translator
from tests.support.commuting import Upgrade
from tests.support.mini import People, mini_upgrade

SEEDS = range(25)
Corrupt = Callable[[sqlite3.Connection], object]


def walked(
    upgrade: Upgrade, people: People, patch: pytest.MonkeyPatch, directory: Path, *, writes: int = 3
) -> list[str]:
    """What the walk finds with one root a view and four a comparison; people write whenever it pauses."""
    patch.setattr(verification, "_FIRST", 1)
    patch.setattr(verification._Walk, "_learn", lambda *_: None)
    patch.setattr(aligned, "_ROOTS", 4)
    patch.setattr(clock, "sleep", lambda _: people.write(writes))
    flow = Flow(Role.TRACKING, upgrade.blue, upgrade.green, upgrade.translator)
    found = verification.verify(flow, upgrade.translator, Pace(), Control(directory))
    assert found.wrong == len(found.differences) or found.wrong > 20
    return list(found.differences)


def test_rows_of_several_moments_are_compared_as_one(tmp_path: Path) -> None:
    joined: list[int] = []
    right = Translator.joined

    def counted(self: Translator, stretches: Sequence[Part]) -> Part:
        joined.append(len(stretches))
        return right(self, stretches)

    for seed in SEEDS:
        with pytest.MonkeyPatch.context() as patch, mini_upgrade(patch, random.Random(seed), 150) as (upgrade, people):
            patch.setattr(Translator, "joined", counted)
            six_traces(upgrade)
            people.write(seed % 4)
            assert walked(upgrade, people, patch, tmp_path) == []
            upgrade.epoch()
            assert upgrade.verify() == []
    assert len(joined) > 20 and max(joined) == 4


CORRUPT: dict[str, Corrupt] = {
    "a root is gone": lambda file: file.execute("DELETE FROM trace_info WHERE request_id = 't4'"),
    "a root is new": lambda file: file.execute(
        "INSERT INTO trace_info (request_id, experiment_id, tags) VALUES ('t33', 0, 0)"
    ),
    "a cell": lambda file: file.execute("UPDATE trace_info SET tags = tags + 1 WHERE request_id = 't1'"),
    "a member is gone": lambda file: file.execute("DELETE FROM assessments WHERE trace_id = 't3'"),
}


def six_traces(upgrade: Upgrade) -> None:
    with closing(sqlite3.connect(upgrade.blue.store.uri.path)) as file, file:
        file.execute("INSERT OR IGNORE INTO experiments VALUES (0, 'Default again', NULL)")
        for number in range(6):
            file.execute("INSERT OR IGNORE INTO trace_info VALUES (?, 0)", (f"t{number}",))
            file.execute("INSERT OR IGNORE INTO trace_tags VALUES ('k', ?, 'v')", (f"t{number}",))
            file.execute("INSERT OR IGNORE INTO assessments VALUES (?, ?, 'v')", (f"a{number}", f"t{number}"))
    upgrade.epoch()


@pytest.fixture
def whole(tmp_path: Path) -> Any:
    """Six traces with everything, and what the walk says after green was changed behind its back."""

    def found(corrupt: Corrupt) -> list[str]:
        with pytest.MonkeyPatch.context() as patch, mini_upgrade(patch, random.Random(1), 0) as (upgrade, people):
            six_traces(upgrade)
            with closing(sqlite3.connect(upgrade.green.store.uri.path)) as file, file:
                corrupt(file)
            return walked(upgrade, people, patch, tmp_path, writes=0)

    return found


@pytest.mark.parametrize("what", CORRUPT)
def test_what_is_wrong_in_any_of_them_is_found(what: str, whole: Any) -> None:
    assert whole(lambda file: None) == []
    assert whole(CORRUPT[what])


def _last_range(self: Translator, stretches: Sequence[Part]) -> Part:
    return stretches[-1]


def _first_range(self: Translator, stretches: Sequence[Part]) -> Part:
    """What the first says, and on behind the last."""
    return Part(stretches[0].delta, stretches[-1].last)


@pytest.mark.parametrize("bug", [_last_range, _first_range])
def test_a_seeded_bug_is_caught(bug: Any, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Translator, "joined", bug)
    assert not all(whole(corrupt) for corrupt in CORRUPT.values())


def test_what_contradicts_itself_is_compared_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that changed places between two views: together no database takes them."""
    expected = Translator.expected
    tried: list[int] = []

    def refuses(self: Translator, change: delta.Delta) -> delta.Replacement:
        roots = sum(len(group.roots) for group in change.groups.values())
        tried.append(roots)
        if roots > 1:
            raise StoreError("UNIQUE constraint failed")
        return expected(self, change)

    with mini_upgrade(monkeypatch, random.Random(3), 0) as (upgrade, people):
        six_traces(upgrade)
        monkeypatch.setattr(Translator, "expected", refuses)
        assert walked(upgrade, people, monkeypatch, tmp_path, writes=0) == []
    assert max(tried) == 4 and tried.count(1) == 6
