"""The way back on a small schema: projected, parked, refused, and what hangs on it."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from liftlock.errors import LiftlockError
from liftlock.model.deployment import Role
from liftlock.online.backward import Backward
from liftlock.online.families import JOB
from liftlock.online.inverse import Reverse
from liftlock.online.parking import Parking, unpark
from liftlock.online.translation import Rule, RuleKind, Translation
from liftlock.stores.live import Live
from liftlock.stores.opening import live
from tests.support.commuting import rows_of, sqlite_store

BLUE = """
CREATE TABLE experiments (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, note VARCHAR,
  CHECK (length(note) < 6));
CREATE TABLE runs (id INTEGER NOT NULL PRIMARY KEY, experiment INTEGER NOT NULL REFERENCES experiments (id));
CREATE TABLE tags (run INTEGER NOT NULL REFERENCES runs (id), key VARCHAR NOT NULL, value VARCHAR,
  PRIMARY KEY (run, key), CHECK (length(value) < 6));
CREATE TABLE models (name VARCHAR NOT NULL PRIMARY KEY, only_old VARCHAR DEFAULT 'old');
CREATE TABLE jobs (id VARCHAR NOT NULL PRIMARY KEY, function_fullname VARCHAR, status INTEGER);
"""

GREEN = """
CREATE TABLE experiments (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, note VARCHAR,
  workspace VARCHAR DEFAULT 'default' NOT NULL, UNIQUE (workspace, name));
CREATE TABLE runs (id INTEGER NOT NULL PRIMARY KEY, experiment INTEGER NOT NULL REFERENCES experiments (id),
  step INTEGER DEFAULT 0 NOT NULL);
CREATE TABLE tags (run INTEGER NOT NULL REFERENCES runs (id), key VARCHAR NOT NULL, value VARCHAR,
  PRIMARY KEY (run, key));
CREATE TABLE models (name VARCHAR NOT NULL, workspace VARCHAR DEFAULT 'default' NOT NULL,
  PRIMARY KEY (workspace, name));
CREATE TABLE jobs (id VARCHAR NOT NULL PRIMARY KEY, job_name VARCHAR, status INTEGER, message VARCHAR);
CREATE TABLE skills (id INTEGER NOT NULL PRIMARY KEY, name VARCHAR);
"""

ROWS = """
INSERT INTO experiments (id, name, note) VALUES (1, 'a', 'short');
INSERT INTO runs (id, experiment) VALUES (10, 1);
INSERT INTO tags VALUES (10, 'k', 'v');
"""


def rule(table: str, columns: str, key: str, **constants: Any) -> Rule:
    return Rule(
        table=table, kind=RuleKind.PROJECTED, source=table, columns={name: name for name in columns.split()},
        constants=constants, key=tuple(key.split()),
    )  # fmt: skip


SHARED = "/dev/shm"
PLAN = Translation(
    role=Role.TRACKING, revisions=(), families=(JOB,), rewrites={"jobs": ("status",)},
    rules={
        "experiments": rule("experiments", "id name note", "id", workspace="default"),
        "runs": rule("runs", "id experiment", "id", step=0), "tags": rule("tags", "run key value", "run key"),
        "models": rule("models", "name", "workspace name", workspace="default"),
        "jobs": Rule(
            table="jobs", kind=RuleKind.GROUP, source="jobs", key=("id",), family="job", constants={"message": None},
            columns={"id": "id", "job_name": "function_fullname", "status": "status"},
        ),
        "skills": Rule(table="skills", kind=RuleKind.NEW, key=("id",)),
    },
)  # fmt: skip


@dataclass
class Sides:
    blue: Live
    green: Live
    parking: Parking
    rules: Reverse

    def write(self, script: str) -> None:
        """Somebody works on the new release; then everything is brought back."""
        with closing(sqlite3.connect(self.green.store.uri.path, isolation_level=None)) as file:
            file.executescript(f"PRAGMA foreign_keys = ON; {script}")
        self.back()

    def back(self) -> None:
        with self.green.changes() as view:
            delta, token = self.rules.read(view), view.token
        for _ in range(2):  # a killed epoch is repeated
            replacement = self.rules.expected(delta)
            with self.blue.applying() as target:
                self.rules.apply(replacement, target)
                assert self.rules.differences(replacement, target) == []
        self.green.consume(token)
        assert self.blue.store.check_integrity() == ()

    def parked(self) -> dict[tuple[Any, ...], str]:
        return {(each.table, *each.key): each.why for each in self.parking.entries()}


@contextmanager
def two_sides() -> Iterator[Sides]:
    with tempfile.TemporaryDirectory(dir=SHARED if Path(SHARED).is_dir() else None) as name:
        place = Path(name)
        found = []
        for name, schema in (("blue", BLUE), ("green", GREEN)):
            with closing(sqlite3.connect(place / f"{name}.db", isolation_level=None)) as file:
                file.executescript(schema + ROWS)
            found.append(live(sqlite_store(place / f"{name}.db")))
        blue, green = found
        green.capture()
        parking = Parking(place / "parking.db")
        yield Sides(blue, green, parking, Reverse(PLAN, blue.shapes(), green.shapes(), parking))


@pytest.fixture
def sides() -> Iterator[Sides]:
    with two_sides() as found:
        yield found


def test_writes_come_back_and_a_column_that_only_the_old_schema_has_gets_its_default(sides: Sides) -> None:
    sides.write("INSERT INTO models (name) VALUES ('m'); UPDATE tags SET value = NULL; DELETE FROM tags WHERE run = 9;")
    assert rows_of(sides.blue, "models") == [("m", "old")]
    assert rows_of(sides.blue, "tags") == [(10, "k", None)]
    sides.write("UPDATE models SET name = 'n'; DELETE FROM tags;")
    assert rows_of(sides.blue, "models") == [("n", "old")]
    assert rows_of(sides.blue, "tags") == []
    assert sides.parked() == {}


def test_tables_and_columns_that_the_old_schema_lacks_are_parked_until_they_are_as_before(sides: Sides) -> None:
    sides.write("INSERT INTO skills VALUES (1, 's'); UPDATE runs SET step = 5;")
    assert sides.parked() == {
        ("skills", 1): "the old release has no such table", ("runs", 10): "the old release has no such columns",
    }  # fmt: skip
    assert rows_of(sides.blue, "runs") == [(10, 1)]
    sides.write("DELETE FROM skills; UPDATE runs SET step = 0;")
    assert sides.parked() == {}


def test_a_refused_row_is_parked_and_its_older_version_stays(sides: Sides) -> None:
    sides.write("UPDATE experiments SET note = 'far too long'; UPDATE tags SET value = 'far too long';")
    assert all("CHECK" in why for why in sides.parked().values())
    assert sides.parked().keys() == {("experiments", 1), ("tags", 10, "k")}
    # Runs hang on the experiment: it must not go.
    assert rows_of(sides.blue, "experiments") == [(1, "a", "short")]
    assert rows_of(sides.blue, "tags") == [(10, "k", "v")]
    sides.write("UPDATE runs SET step = 0;")
    assert ("runs", 10) not in sides.parked()
    sides.write("UPDATE experiments SET note = 'fits'; DELETE FROM tags;")
    assert sides.parked() == {}
    assert rows_of(sides.blue, "experiments") == [(1, "a", "fits")]


def test_what_hangs_on_a_parked_row_is_parked_with_it_whenever_it_comes(sides: Sides) -> None:
    sides.write(
        "INSERT INTO experiments VALUES (2, 'a', NULL, 'elsewhere'); INSERT INTO runs VALUES (20, 2, 0);"
        "INSERT INTO models VALUES ('m', 'elsewhere');"
    )
    sides.write("INSERT INTO tags VALUES (20, 'k', 'v');")
    assert sides.parked() == {
        ("experiments", 2): "workspace 'elsewhere' is unknown to the old release",
        ("models", "elsewhere", "m"): "workspace 'elsewhere' is unknown to the old release",
        ("runs", 20): "it belongs to a row of experiments that is parked",
        ("tags", 20, "k"): "it belongs to a row of runs that is parked",
    }
    assert len(rows_of(sides.blue, "runs")) == 1
    # Once the row on top fits, all of it comes in.
    sides.write("UPDATE experiments SET workspace = 'default', name = 'b' WHERE id = 2; DELETE FROM models;")
    assert sides.parked() == {}
    assert (20, "k", "v") in rows_of(sides.blue, "tags")


def test_a_family_comes_back_under_its_old_names_and_what_is_gone_is_no_longer_parked(sides: Sides) -> None:
    sides.write("INSERT INTO jobs VALUES ('j', 'work', 0, 'said'), ('k', 'work', 3, NULL);")
    assert rows_of(sides.blue, "jobs") == [("j", "work", 0), ("k", "work", 3)]
    assert [(each.key, each.content, each.base) for each in sides.parking.entries()] == [
        (("j",), {"message": "said"}, {"id": "j", "job_name": "work"})
    ]
    sides.write("DELETE FROM jobs;")
    assert rows_of(sides.blue, "jobs") == []
    assert sides.parked() == {}


def test_everything_parked_comes_back_to_the_new_schema(sides: Sides) -> None:
    sides.write(
        "INSERT INTO experiments VALUES (2, 'a', 'far too long', 'elsewhere'); INSERT INTO runs VALUES (20, 2, 3);"
        "INSERT INTO tags VALUES (20, 'k', 'far too long'), (10, 'l', 'far too long');"
        "INSERT INTO skills VALUES (1, 's'); UPDATE runs SET step = 7 WHERE id = 10;"
    )
    wanted = {name: rows_of(sides.green, name) for name in sides.green.shapes()}
    with closing(sqlite3.connect(sides.green.store.uri.path, isolation_level=None)) as file:
        file.executescript(
            "DELETE FROM tags WHERE run = 20 OR key = 'l'; DELETE FROM runs WHERE id = 20;"
            "DELETE FROM experiments WHERE id = 2; DELETE FROM skills; UPDATE runs SET step = 0;"
        )
    with sides.green.applying() as target:
        found, done = unpark(sides.parking, target, sides.green.shapes())
    assert found.conflicts == ()
    sides.parking.forget(done)
    assert {name: rows_of(sides.green, name) for name in sides.green.shapes()} == wanted
    assert sides.parked() == {}


def _older_version_goes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reverse, "_old", lambda self, replacement, target: {})


def _descendants_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reverse, "_homeless", lambda self, table, rows, entries, target: {})


def _waiting_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reverse, "_adopt", lambda self, replacement, target: None)


def _columns_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Backward, "surplus", lambda self, row: None)


def _workspaces_mixed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Backward, "foreign", lambda self, row: None)


def _parked_for_ever(patch: pytest.MonkeyPatch) -> None:
    replace = Parking.replace
    patch.setattr(Parking, "replace", lambda self, touched, entries: replace(self, {}, entries))


def _refusals_lost(patch: pytest.MonkeyPatch) -> None:
    replace = Parking.replace
    patch.setattr(
        Parking, "replace",
        lambda self, touched, entries: replace(self, touched, [each for each in entries if "CHECK" not in each.why]),
    )  # fmt: skip


STORIES: list[Callable[[Sides], None]] = [
    test_writes_come_back_and_a_column_that_only_the_old_schema_has_gets_its_default,
    test_tables_and_columns_that_the_old_schema_lacks_are_parked_until_they_are_as_before,
    test_a_refused_row_is_parked_and_its_older_version_stays,
    test_what_hangs_on_a_parked_row_is_parked_with_it_whenever_it_comes,
    test_a_family_comes_back_under_its_old_names_and_what_is_gone_is_no_longer_parked,
    test_everything_parked_comes_back_to_the_new_schema,
]


@pytest.mark.parametrize("bug", [
    _older_version_goes, _descendants_forgotten, _waiting_for_ever, _columns_forgotten, _workspaces_mixed,
    _parked_for_ever, _refusals_lost,
])  # fmt: skip
def test_a_seeded_bug_is_caught(bug: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    bug(monkeypatch)
    noticed = 0
    for story in STORIES:
        with two_sides() as sides:
            try:
                story(sides)
            except (AssertionError, LiftlockError):
                noticed += 1
    assert noticed
