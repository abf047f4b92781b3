"""The journal: an append-only SQLite file, durable before every effect, each entry chained to the last by hash.

WAL with synchronous=FULL makes a commit durable; the chain (SHA-256 over the entry and the digest before it) makes
a later change of any entry visible. An operator can read it with the sqlite3 command: table `entry`.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from liftlock import clock
from liftlock.errors import JournalError, Refused
from liftlock.model.journal import Entry, Kind, RunKind, RunOutcome, RunState, StepState
from liftlock.model.secret import redact_values

FORMAT = 1
_GENESIS = "0" * 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (format INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entry (
    seq INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    step TEXT NOT NULL,
    at TEXT NOT NULL,
    payload TEXT NOT NULL,
    previous TEXT NOT NULL,
    digest TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS entry_run ON entry (run, seq);
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL, digest TEXT NOT NULL);
"""


class Journal:
    """Entries of all runs of one deployment. Safe for several readers and one writer (the lock's holder)."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, run: str, kind: Kind, step: str = "", payload: dict[str, Any] | None = None) -> Entry:
        """Write one entry durably and return it. Known secrets in the payload become `***`."""
        text = json.dumps(redact_values(payload or {}), sort_keys=True, default=str)
        at = clock.now()
        with self._writing() as db:
            row = db.execute("SELECT seq, digest FROM entry ORDER BY seq DESC LIMIT 1").fetchone()
            seq, previous = (row[0] + 1, row[1]) if row else (1, _GENESIS)
            digest = _digest(seq, run, kind, step, at.isoformat(), text, previous)
            db.execute(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (seq, run, kind.value, step, at.isoformat(), text, previous, digest),
            )
            # Without it nobody would miss entries cut off at the end.
            db.execute("INSERT OR REPLACE INTO head VALUES (1, ?, ?)", (seq, digest))
        return Entry(
            seq=seq, run=run, kind=kind, step=step, at=at, payload=json.loads(text), previous=previous, digest=digest
        )

    def entries(self, run: str | None = None) -> tuple[Entry, ...]:
        """Entries in order, of one run or of all. Empty when there is no journal yet."""
        if not self.path.exists():
            return ()
        query = "SELECT seq, run, kind, step, at, payload, previous, digest FROM entry"
        with closing(self._open()) as db:
            if run is None:
                rows = db.execute(query + " ORDER BY seq").fetchall()
            else:
                rows = db.execute(query + " WHERE run = ? ORDER BY seq", (run,)).fetchall()
        return tuple(_entry(row) for row in rows)

    def verify(self) -> None:
        """Recompute the chain. Raises JournalError naming the first entry that does not hold."""
        previous = _GENESIS
        expected = 1
        for entry in self.entries():
            text = json.dumps(entry.payload, sort_keys=True, default=str)
            digest = _digest(entry.seq, entry.run, entry.kind, entry.step, entry.at.isoformat(), text, previous)
            if entry.seq != expected or entry.previous != previous or entry.digest != digest:
                raise JournalError(
                    f"entry {expected} of the journal was changed or removed",
                    hint=f"Do not trust {self.path.name}; compare it with the copy in the evidence.",
                )
            previous = entry.digest
            expected += 1
        if self._head() != (expected - 1, previous):
            raise JournalError(
                f"entries after {expected - 1} of the journal were removed",
                hint=f"Do not trust {self.path.name}; compare it with the copy in the evidence.",
            )

    def _head(self) -> tuple[int, str]:
        if not self.path.exists():
            return 0, _GENESIS
        with closing(self._open()) as db:
            row = db.execute("SELECT seq, digest FROM head").fetchone()
        return (int(row[0]), str(row[1])) if row else (0, _GENESIS)

    def runs(self) -> tuple[RunState, ...]:
        """All runs, oldest first, folded from their entries."""
        by_run: dict[str, list[Entry]] = {}
        for entry in self.entries():
            by_run.setdefault(entry.run, []).append(entry)
        return tuple(fold(entries) for entries in by_run.values())

    def run(self, run: str) -> RunState:
        """One run. Raises JournalError when there is none with this id."""
        entries = self.entries(run)
        if not entries:
            raise JournalError(f"the journal knows no run {run}")
        return fold(entries)

    def open_run(self) -> RunState | None:
        """The run that began and has not ended, or None."""
        return next((state for state in reversed(self.runs()) if state.outcome is RunOutcome.OPEN), None)

    def notes(self, run: str) -> dict[str, dict[str, Any]]:
        """The last payload noted under each key in a run."""
        return {entry.step: entry.payload for entry in self.entries(run) if entry.kind is Kind.NOTE}

    def _open(self) -> sqlite3.Connection:
        try:
            db = sqlite3.connect(self.path, timeout=10, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.executescript(_SCHEMA)
            row = db.execute("SELECT format FROM meta").fetchone()
            if row is None:
                db.execute("INSERT INTO meta VALUES (?)", (FORMAT,))
            elif row[0] > FORMAT:
                raise JournalError(
                    f"the journal was written by a newer liftlock (format {row[0]}, this one knows {FORMAT})",
                    hint="Use that newer liftlock to go on.",
                )
        except sqlite3.Error as error:
            raise JournalError(f"the journal {self.path} cannot be used: {error}") from error
        return db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with closing(self._open()) as db:
            self.path.chmod(0o600)
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except sqlite3.Error as error:
                raise JournalError(f"the journal {self.path} cannot be written: {error}") from error


def fold(entries: tuple[Entry, ...] | list[Entry]) -> RunState:
    """The state of one run, from its entries in order. Pure."""
    first = entries[0]
    steps: dict[str, StepState] = {}
    outcome, ended, message = RunOutcome.OPEN, None, ""
    for entry in entries:
        if entry.kind is Kind.RUN_ENDED:
            outcome = RunOutcome(entry.payload["outcome"])
            message = str(entry.payload.get("message", ""))
            ended = None if outcome is RunOutcome.OPEN else entry.at
        elif entry.kind in (Kind.INTENT, Kind.DONE, Kind.FAILED, Kind.UNDO_INTENT, Kind.UNDONE):
            before = steps.get(entry.step)
            finished = entry.kind in (Kind.DONE, Kind.FAILED, Kind.UNDONE)
            steps[entry.step] = StepState(
                name=entry.step,
                last=entry.kind,
                started_at=entry.at if entry.kind is Kind.INTENT or before is None else before.started_at,
                ended_at=entry.at if finished else None,
                outcome=entry.payload if entry.kind is Kind.DONE else (before.outcome if before else {}),
            )
    return RunState(
        id=first.run,
        kind=RunKind(first.payload["kind"]),
        started_at=first.at,
        ended_at=ended,
        outcome=outcome,
        operator=str(first.payload.get("operator", "")),
        payload=first.payload,
        steps=tuple(steps.values()),
        message=message,
    )


def _digest(seq: int, run: str, kind: Kind, step: str, at: str, payload: str, previous: str) -> str:
    text = json.dumps([seq, run, kind.value, step, at, payload, previous])
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(row: tuple[Any, ...]) -> Entry:
    seq, run, kind, step, at, payload, previous, digest = row
    try:
        return Entry(
            seq=seq, run=run, kind=Kind(kind), step=step, at=datetime.fromisoformat(at),
            payload=json.loads(payload), previous=previous, digest=digest,
        )  # fmt: skip
    except (ValueError, TypeError) as error:
        raise JournalError(f"entry {seq} of the journal is damaged: {error}") from error


def unfinished(run: RunState) -> Refused:
    """The refusal for whoever would begin something while a run is open."""
    return Refused(
        f"{run.kind} {run.id} of {run.operator} has not ended",
        hint="Go on with `liftlock resume` or take it back with `liftlock abort`.",
    )
