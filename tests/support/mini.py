"""A small database that is migrated as MLflow's are: columns with defaults, a renamed column, primary keys that grow,
and a family of rows in which columns are computed and rows deleted. The migration is SQL, so that thousands can run.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from liftlock.knowledge.revisions import Annotation, Fill, Recorded, Revision, RevisionKind
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri
from liftlock.online import translation as deciding
from liftlock.online.scratch import SqliteScratch
from liftlock.online.translate import Translator
from liftlock.releases.tools import WarmWorker
from liftlock.stores.opening import live
from tests.support.commuting import Upgrade, sqlite_store, unequal

BLUE = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO alembic_version VALUES ('old');
CREATE TABLE experiments (experiment_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, note VARCHAR);
CREATE TABLE metrics (name VARCHAR NOT NULL, value FLOAT NOT NULL, step BIGINT NOT NULL, extra FLOAT,
  PRIMARY KEY (name, step, value));
CREATE TABLE registered_models (name VARCHAR NOT NULL PRIMARY KEY, note VARCHAR);
CREATE TABLE model_versions (name VARCHAR NOT NULL, version INTEGER NOT NULL, note VARCHAR,
  PRIMARY KEY (name, version),
  FOREIGN KEY (name) REFERENCES registered_models (name) ON UPDATE CASCADE ON DELETE CASCADE);
CREATE TABLE calls (id INTEGER NOT NULL PRIMARY KEY, function_fullname VARCHAR);
CREATE TABLE trace_info (request_id VARCHAR NOT NULL PRIMARY KEY,
  experiment_id INTEGER NOT NULL REFERENCES experiments (experiment_id) ON DELETE CASCADE);
CREATE TABLE trace_tags (key VARCHAR NOT NULL, request_id VARCHAR NOT NULL
  REFERENCES trace_info (request_id) ON DELETE CASCADE, value VARCHAR, PRIMARY KEY (key, request_id));
CREATE TABLE assessments (assessment_id VARCHAR NOT NULL PRIMARY KEY, trace_id VARCHAR NOT NULL
  REFERENCES trace_info (request_id) ON DELETE CASCADE, value VARCHAR NOT NULL);
INSERT INTO experiments VALUES (0, 'Default', NULL);
"""

MIGRATION = """
BEGIN;
CREATE TEMP TABLE homeless (n INTEGER CHECK (n = 0));
INSERT INTO homeless SELECT count(*) FROM trace_info
  WHERE experiment_id NOT IN (SELECT experiment_id FROM experiments);
INSERT INTO homeless SELECT count(*) FROM assessments WHERE trace_id NOT IN (SELECT request_id FROM trace_info);
CREATE TABLE workspaces (name VARCHAR NOT NULL PRIMARY KEY);
INSERT INTO workspaces VALUES ('default');
CREATE TABLE n_experiments (experiment_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR NOT NULL, note VARCHAR,
  workspace VARCHAR DEFAULT 'default' NOT NULL, UNIQUE (workspace, name));
INSERT INTO n_experiments (experiment_id, name, note) SELECT * FROM experiments;
CREATE TABLE n_models (workspace VARCHAR DEFAULT 'default' NOT NULL, name VARCHAR NOT NULL, note VARCHAR,
  PRIMARY KEY (workspace, name));
INSERT INTO n_models (name, note) SELECT * FROM registered_models;
CREATE TABLE n_versions (name VARCHAR NOT NULL, version INTEGER NOT NULL, note VARCHAR,
  workspace VARCHAR DEFAULT 'default' NOT NULL, PRIMARY KEY (workspace, name, version));
INSERT INTO n_versions (name, version, note) SELECT * FROM model_versions;
ALTER TABLE calls RENAME COLUMN function_fullname TO job_name;
ALTER TABLE calls ADD COLUMN detail VARCHAR;
ALTER TABLE trace_info ADD COLUMN trace_name VARCHAR;
ALTER TABLE trace_info ADD COLUMN tags INTEGER;
UPDATE trace_info SET tags = (SELECT count(*) FROM trace_tags t WHERE t.request_id = trace_info.request_id),
  trace_name = (SELECT value FROM trace_tags t WHERE t.request_id = trace_info.request_id AND key = 'name');
DELETE FROM trace_tags WHERE key = 'name';
ALTER TABLE assessments ADD COLUMN experiment_id INTEGER;
ALTER TABLE assessments ADD COLUMN migrated_at INTEGER;
UPDATE assessments SET migrated_at = abs(random()),
  experiment_id = (SELECT experiment_id FROM trace_info t WHERE t.request_id = assessments.trace_id);
DROP TABLE model_versions; DROP TABLE registered_models; DROP TABLE experiments;
ALTER TABLE n_experiments RENAME TO experiments;
ALTER TABLE n_models RENAME TO registered_models;
ALTER TABLE n_versions RENAME TO model_versions;
UPDATE alembic_version SET version_num = 'new';
COMMIT;
"""

REVISION = Revision(
    id="new", chain="tracking",
    recorded=Recorded(
        title="mini", after="old", created=("workspaces",),
        added={
            "experiments": {"workspace": Fill.DEFAULT}, "registered_models": {"workspace": Fill.DEFAULT},
            "model_versions": {"workspace": Fill.DEFAULT}, "calls": {"detail": Fill.NULL},
            "trace_info": {"trace_name": Fill.COMPUTED, "tags": Fill.COMPUTED},
            "assessments": {"experiment_id": Fill.COMPUTED, "migrated_at": Fill.COMPUTED},
        },
        renamed={"calls": {"function_fullname": "job_name"}}, changed=("trace_tags",),
        reads=("trace_tags", "trace_info"), writes=("trace_info", "trace_tags", "assessments"), seen=9,
    ),
    annotation=Annotation(
        kind=RevisionKind.GROUP_LOCAL, why="mini", source="mini", families=("trace",),
        clocks={"assessments": ("migrated_at",)},
    ),
)  # fmt: skip


class Migrator:
    """Stands for a warm worker."""

    def migrate(self, uri: StoreUri, chain: Role, *, timeout: float) -> None:
        with closing(sqlite3.connect(uri.path, isolation_level=None)) as file:
            file.executescript("PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON;" + MIGRATION)


@dataclass
class People:
    """Who writes to blue, as MLflow does: foreign keys on, short transactions."""

    path: Path
    random: random.Random

    def write(self, count: int) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as file:
            file.execute("PRAGMA foreign_keys = ON")
            for _ in range(count):
                file.execute("BEGIN")
                try:
                    self._one(file)
                    file.execute("COMMIT")
                except sqlite3.IntegrityError:
                    file.execute("ROLLBACK")

    def _one(self, file: sqlite3.Connection) -> None:
        pick = self.random
        n, other = pick.randrange(6), pick.randrange(6)
        text = pick.choice([None, "", "x", "Ünïcödé"])
        number = pick.choice([0.0, -0.0, 1.0, 0.1, 1e300, float("inf")])
        statement, values = pick.choice(
            [
                ("INSERT INTO experiments VALUES (?, ?, ?)", (n, f"e{other}", text)),
                ("UPDATE experiments SET name = ?, note = ? WHERE experiment_id = ?", (f"e{other}", text, n)),
                ("DELETE FROM experiments WHERE experiment_id = ?", (n,)),
                ("INSERT INTO metrics VALUES (?, ?, ?, ?)", (f"m{n}", number, other, pick.choice([None, number]))),
                ("UPDATE metrics SET value = ?, extra = NULL WHERE name = ? AND step = ?", (number, f"m{n}", other)),
                ("DELETE FROM metrics WHERE name = ?", (f"m{n}",)),
                ("INSERT INTO registered_models VALUES (?, ?)", (f"r{n}", text)),
                ("UPDATE registered_models SET name = ? WHERE name = ?", (f"r{other}", f"r{n}")),
                ("DELETE FROM registered_models WHERE name = ?", (f"r{n}",)),
                ("INSERT INTO model_versions VALUES (?, ?, ?)", (f"r{n}", other, text)),
                ("UPDATE model_versions SET note = ? WHERE name = ?", (text, f"r{n}")),
                ("INSERT INTO calls VALUES (?, ?)", (n, text)),
                ("UPDATE calls SET function_fullname = ? WHERE id = ?", (text, n)),
                ("DELETE FROM calls WHERE id = ?", (n,)),
                ("INSERT INTO trace_info VALUES (?, ?)", (f"t{n}", other)),
                ("INSERT INTO trace_info VALUES (?, 0)", (f"t{n}",)),
                ("UPDATE trace_info SET experiment_id = ? WHERE request_id = ?", (other, f"t{n}")),
                ("DELETE FROM trace_info WHERE request_id = ?", (f"t{n}",)),
                ("INSERT INTO trace_tags VALUES (?, ?, ?)", (pick.choice(["name", "k"]), f"t{n}", text)),
                ("UPDATE trace_tags SET value = ? WHERE request_id = ?", (text, f"t{n}")),
                ("DELETE FROM trace_tags WHERE request_id = ? AND key = 'name'", (f"t{n}",)),
                ("UPDATE trace_tags SET request_id = ? WHERE request_id = ?", (f"t{other}", f"t{n}")),
                ("INSERT INTO assessments VALUES (?, ?, 'v')", (f"a{n}", f"t{other}")),
                ("UPDATE assessments SET trace_id = ?, value = ? WHERE assessment_id = ?", (f"t{other}", "w", f"a{n}")),
                ("DELETE FROM assessments WHERE assessment_id = ?", (f"a{n}",)),
            ]
        )
        file.execute(statement, values)
        if pick.random() < 0.1:  # two names change places
            file.execute("UPDATE experiments SET name = 'aside' WHERE name = 'e1'")
            file.execute("UPDATE experiments SET name = 'e1' WHERE name = 'e2'")
            file.execute("UPDATE experiments SET name = 'e2' WHERE name = 'aside'")


@contextmanager
def mini_upgrade(
    patch: pytest.MonkeyPatch, people: random.Random, writes: int = 40
) -> Iterator[tuple[Upgrade, People]]:
    """A database with some rows, captured, copied and migrated."""
    shared = "/dev/shm"
    with tempfile.TemporaryDirectory(dir=shared if Path(shared).is_dir() else None) as place:
        path = Path(place) / "blue.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as file:
            file.executescript(BLUE)
        blue = sqlite_store(path)
        who = People(path, people)
        who.write(writes)
        source = live(blue)
        source.capture()
        who.write(writes // 4)
        copy = blue.scratch("green")
        source.copy_to(copy)
        worker = cast(WarmWorker, Migrator())
        Migrator().migrate(copy.uri, Role.TRACKING, timeout=1)
        sink = live(copy)
        patch.setattr(deciding, "jump", lambda role, names: (REVISION,))
        plan = deciding.translation(Role.TRACKING, ("new",), source.shapes(), sink.shapes())
        assert plan.refusals == ()
        scratch = SqliteScratch(
            blue, "mini", worker, source.shapes(), sink.shapes(), directory=Path(place)
        )  # fmt: skip
        yield Upgrade(source, sink, plan, Translator(plan, source.shapes(), sink.shapes(), scratch)), who
        scratch.close()


def wrong_after(upgrade: Upgrade, people: People, epochs: Sequence[tuple[int, int | None]]) -> list[str]:
    """Differences from a plain migration after epochs of (writes before it, limit)."""
    for writes, limit in epochs:
        people.write(writes)
        upgrade.epoch(limit)
    upgrade.epoch()
    blue = upgrade.blue.store
    copy = blue.scratch("reference")
    try:
        upgrade.blue.copy_to(copy)
        Migrator().migrate(copy.uri, Role.TRACKING, timeout=1)
        found: list[Any] = unequal(upgrade.plan, live(copy), upgrade.green)
    finally:
        copy.drop()
    return [str(each) for each in found]
