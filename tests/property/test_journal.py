"""No edit of the journal goes unnoticed, and folding follows the last word on each step."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftlock.engine.journal import Journal
from liftlock.errors import JournalError
from liftlock.model.journal import Kind, RunOutcome

payloads = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    max_size=3,
)  # fmt: skip
entries = st.lists(
    st.tuples(
        st.sampled_from([Kind.INTENT, Kind.DONE, Kind.FAILED, Kind.UNDO_INTENT, Kind.UNDONE, Kind.NOTE]),
        st.sampled_from(["one", "two"]),
        payloads,
    ),
    max_size=6,
)


def written(directory: str, found: list[tuple[Kind, str, dict[str, object]]]) -> Journal:
    journal = Journal(Path(directory) / "journal.db")
    journal.append("r", Kind.RUN_STARTED, "", {"kind": "upgrade"})
    for kind, step, payload in found:
        journal.append("r", kind, step, payload)
    return journal


@settings(max_examples=25, deadline=None)
@given(entries)
def test_whatever_is_written_holds_and_folds(found: list[tuple[Kind, str, dict[str, object]]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        journal = written(directory, found)
        journal.verify()
        state = journal.run("r")
        assert state.outcome is RunOutcome.OPEN
        for name in ("one", "two"):
            said = [kind for kind, step, _ in found if step == name and kind is not Kind.NOTE]
            step = state.step(name)
            assert (step.last if step else None) == (said[-1] if said else None)


@settings(max_examples=25, deadline=None)
@given(entries, st.data())
def test_any_edit_is_found(found: list[tuple[Kind, str, dict[str, object]]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        journal = written(directory, found)
        count = len(found) + 1
        seq = data.draw(st.integers(1, count))
        edit = data.draw(
            st.sampled_from(["payload", "kind", "step", "at", "run", "previous", "digest", "delete", "swap"])
        )
        with closing(sqlite3.connect(journal.path)) as db, db:
            if edit == "delete":
                db.execute("DELETE FROM entry WHERE seq = ?", (seq,))
            elif edit == "swap":
                other = data.draw(st.integers(1, count))
                if other == seq:
                    return
                db.execute("UPDATE entry SET seq = -1 WHERE seq = ?", (seq,))
                db.execute("UPDATE entry SET seq = ? WHERE seq = ?", (seq, other))
                db.execute("UPDATE entry SET seq = ? WHERE seq = -1", (other,))
            else:
                new = {
                    "payload": '{"x": 1}', "kind": "run-ended", "step": "three", "at": "2020-01-01T00:00:00+00:00",
                    "run": "q", "previous": "1" * 64, "digest": "1" * 64,
                }[edit]  # fmt: skip
                db.execute(f"UPDATE entry SET {edit} = ? WHERE seq = ?", (new, seq))
        with pytest.raises(JournalError):
            journal.verify()
