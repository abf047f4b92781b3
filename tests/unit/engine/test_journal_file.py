"""The journal as a file: durable, private, chained, folded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from liftlock.engine.journal import Journal, fold
from liftlock.errors import JournalError
from liftlock.model.journal import Kind, RunOutcome
from liftlock.model.secret import Secret

RUN = "upgrade-1"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path / "journal.db")
    made.append(RUN, Kind.RUN_STARTED, "", {"kind": "upgrade", "operator": "me@here"})
    for step in ("one", "two"):
        made.append(RUN, Kind.INTENT, step, {"title": step})
        made.append(RUN, Kind.DONE, step, {"value": 0.1, "texts": ["ü"]})
    return made


def test_no_journal_yet_is_empty(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.db")
    assert journal.entries() == ()
    assert journal.open_run() is None
    journal.verify()
    assert not journal.path.exists()


def test_entries_come_back_in_order_and_hold(journal: Journal) -> None:
    journal.verify()
    assert [entry.seq for entry in journal.entries()] == [1, 2, 3, 4, 5]
    assert journal.entries("other") == ()
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_secrets_never_reach_it(journal: Journal) -> None:
    Secret("a-very-secret-word")
    journal.append(RUN, Kind.NOTE, "x", {"uri": "postgresql://u:a-very-secret-word@h/d"})
    journal.verify()
    assert b"a-very-secret-word" not in journal.path.read_bytes()
    wal = journal.path.with_name("journal.db-wal")
    assert not wal.exists() or b"a-very-secret-word" not in wal.read_bytes()


def edit(statement: str) -> Callable[[sqlite3.Connection], None]:
    def run(db: sqlite3.Connection) -> None:
        db.executescript(statement)

    return run


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET payload = '{}' WHERE seq = 3",
        "UPDATE entry SET kind = 'undone' WHERE seq = 3",
        "UPDATE entry SET step = 'two' WHERE seq = 2",
        "UPDATE entry SET run = 'upgrade-2' WHERE seq = 5",
        "UPDATE entry SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 1",
        "DELETE FROM entry WHERE seq = 1",
        "DELETE FROM entry WHERE seq = 3",
        "DELETE FROM entry WHERE seq = 5",
        "DELETE FROM entry",
        "DELETE FROM entry WHERE seq = 3; UPDATE entry SET seq = seq - 1 WHERE seq > 3",
        "UPDATE entry SET seq = 99 WHERE seq = 2; UPDATE entry SET seq = 2 WHERE seq = 3;"
        " UPDATE entry SET seq = 3 WHERE seq = 99",
        "INSERT INTO entry SELECT 6, run, kind, step, at, payload, previous, digest FROM entry WHERE seq = 5",
        "UPDATE entry SET payload = 'no json' WHERE seq = 3",
        "UPDATE entry SET kind = 'unheard-of' WHERE seq = 3",
    ],
)
def test_every_edit_is_found(journal: Journal, statement: str) -> None:
    with closing(sqlite3.connect(journal.path)) as db:
        edit(statement)(db)
        db.commit()
    with pytest.raises(JournalError):
        journal.verify()


def test_newer_format_is_refused(journal: Journal) -> None:
    with closing(sqlite3.connect(journal.path)) as db, db:
        db.execute("UPDATE meta SET format = 99")
    with pytest.raises(JournalError, match="newer liftlock"):
        journal.entries()


def test_damaged_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(JournalError) as caught:
        Journal(path).entries()
    assert "\n" not in caught.value.message


def test_fold_follows_steps_and_outcome(journal: Journal) -> None:
    journal.append(RUN, Kind.INTENT, "three", {})
    journal.append(RUN, Kind.FAILED, "three", {"message": "no"})
    state = journal.run(RUN)
    assert state.outcome is RunOutcome.OPEN
    assert state.operator == "me@here"
    assert [step.last for step in state.steps] == [Kind.DONE, Kind.DONE, Kind.FAILED]
    one = state.step("one")
    assert one is not None
    assert one.outcome == {"value": 0.1, "texts": ["ü"]}
    assert journal.open_run() == state
    journal.append(RUN, Kind.UNDO_INTENT, "two", {})
    journal.append(RUN, Kind.UNDONE, "two", {})
    journal.append(RUN, Kind.RUN_ENDED, "", {"outcome": "put-back", "message": "no"})
    state = journal.run(RUN)
    assert (state.outcome, state.message) == (RunOutcome.PUT_BACK, "no")
    assert state.ended_at is not None
    two = state.step("two")
    assert two is not None
    assert two.last is Kind.UNDONE
    assert journal.open_run() is None


def test_a_run_ended_twice_has_its_last_outcome(journal: Journal) -> None:
    journal.append(RUN, Kind.RUN_ENDED, "", {"outcome": "done"})
    journal.append(RUN, Kind.RUN_ENDED, "", {"outcome": "rolled-back"})
    assert journal.run(RUN).outcome is RunOutcome.ROLLED_BACK


def test_notes_are_the_last_of_each_key(journal: Journal) -> None:
    journal.append(RUN, Kind.NOTE, "k", {"n": 1})
    journal.append(RUN, Kind.NOTE, "k", {"n": 2})
    journal.append("other", Kind.RUN_STARTED, "", {"kind": "rollback"})
    journal.append("other", Kind.NOTE, "k", {"n": 3})
    assert journal.notes(RUN) == {"k": {"n": 2}}
    assert [state.id for state in journal.runs()] == [RUN, "other"]
    with pytest.raises(JournalError, match="no run"):
        journal.run("nobody")


def test_fold_is_pure(journal: Journal) -> None:
    entries = journal.entries()
    assert fold(entries) == fold(list(entries)) == journal.run(RUN)
