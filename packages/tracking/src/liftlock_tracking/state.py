"""What the shippers of one spool must remember: ids, marks, rejected calls, counters. A small SQLite file.

The application's own calls never wait for it. Every method opens the file on demand, in the process and
thread that asks; a fork gets a connection of its own.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

_SCHEMA = """
CREATE TABLE IF NOT EXISTS ids (prov TEXT PRIMARY KEY, real TEXT, kind TEXT, extra TEXT, at REAL);
CREATE INDEX IF NOT EXISTS ids_real ON ids (real);
CREATE TABLE IF NOT EXISTS marks (segment TEXT PRIMARY KEY, offset INTEGER);
CREATE TABLE IF NOT EXISTS flights (segment TEXT PRIMARY KEY, offset INTEGER, attempts INTEGER);
CREATE TABLE IF NOT EXISTS rejected (id TEXT PRIMARY KEY, run TEXT, record TEXT, reason TEXT, at REAL);
CREATE TABLE IF NOT EXISTS sent (prov TEXT PRIMARY KEY, at REAL);
CREATE TABLE IF NOT EXISTS suspects (prov TEXT PRIMARY KEY, experiment TEXT, until REAL);
CREATE TABLE IF NOT EXISTS experiments (key TEXT PRIMARY KEY, body TEXT);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT, at REAL);
"""


class State:
    """The shippers' memory in `folder`/state.sqlite. Raises sqlite3.Error (a full disk, a damaged file)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "state.sqlite"
        self._lock = threading.RLock()
        self._connection: Optional[sqlite3.Connection] = None
        self._pid = 0
        self._inherited: list[sqlite3.Connection] = []

    def _db(self) -> sqlite3.Connection:
        pid = os.getpid()
        if self._connection is not None and self._pid != pid:
            # A connection must not be used, nor closed, by a forked child: keep it and open another.
            self._inherited.append(self._connection)
            self._connection = None
        if self._connection is None:
            if not self._path.exists():
                os.close(os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o600))
            db = sqlite3.connect(str(self._path), timeout=10, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.executescript(_SCHEMA)
            self._connection, self._pid = db, pid
        return self._connection

    def after_fork(self) -> None:
        """A forked child takes a lock of its own; the parent's may be held by a thread that is not here."""
        self._lock = threading.RLock()

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db().execute(sql, values).fetchall()

    # --- provisional ids -------------------------------------------------------------------------------

    def bind(self, prov: str, real: Optional[str], kind: str, extra: Optional[dict[str, Any]] = None) -> None:
        """Remember for good which real id a provisional one became (None: the server refused to create it)."""
        self._run(
            "INSERT OR REPLACE INTO ids VALUES (?, ?, ?, ?, ?)",
            (prov, real, kind, json.dumps(extra or {}), time.time()),
        )
        self.unsent(prov)

    def bound(self, prov: str) -> Optional[tuple[Optional[str], dict[str, Any]]]:
        """The real id and what else is known about it; None while the server has not answered."""
        rows = self._run("SELECT real, extra FROM ids WHERE prov = ?", (prov,))
        return (rows[0][0], json.loads(rows[0][1])) if rows else None

    def ids(self) -> Iterator[tuple[str, Optional[str], str]]:
        """Every (provisional, real, kind)."""
        yield from self._run("SELECT prov, real, kind FROM ids ORDER BY at")

    # --- how far each file is shipped ------------------------------------------------------------------

    def mark(self, segment: str, offset: int) -> None:
        """Everything before `offset` bytes of the file has arrived."""
        with self._lock:
            db = self._db()
            db.execute("BEGIN IMMEDIATE")
            try:
                db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (segment, offset))
                db.execute("DELETE FROM flights WHERE segment = ?", (segment,))
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def marked(self, segment: str) -> int:
        """Bytes of the file that have arrived."""
        rows = self._run("SELECT offset FROM marks WHERE segment = ?", (segment,))
        return int(rows[0][0]) if rows else 0

    def take_off(self, segment: str, offset: int) -> int:
        """Note that a window starting at `offset` is about to be sent; says how often that was tried before."""
        rows = self._run("SELECT attempts FROM flights WHERE segment = ? AND offset = ?", (segment, offset))
        before = int(rows[0][0]) if rows else 0
        self._run("INSERT OR REPLACE INTO flights VALUES (?, ?, ?)", (segment, offset, before + 1))
        return before

    def forget(self, segment: str) -> None:
        """A file was shipped whole and removed."""
        self._run("DELETE FROM marks WHERE segment = ?", (segment,))
        self._run("DELETE FROM flights WHERE segment = ?", (segment,))

    def succeed(self, segment: str, successor: str) -> None:
        """A file that begins where this one's mark was took its place."""
        self._run(
            "INSERT OR REPLACE INTO flights SELECT ?, 0, attempts FROM flights WHERE segment = ? AND offset ="
            " coalesce((SELECT offset FROM marks WHERE segment = ?), 0)",
            (successor, segment, segment),
        )
        self.forget(segment)

    # --- calls the server refused ----------------------------------------------------------------------

    def reject(self, record_id: str, run: str, record: dict[str, Any], reason: str) -> None:
        """Keep a call the server refused for good, with its reason."""
        self._run(
            "INSERT OR IGNORE INTO rejected VALUES (?, ?, ?, ?, ?)",
            (record_id, run, json.dumps(record), reason, time.time()),
        )

    def rejected(self) -> list[tuple[str, str, str, str, float]]:
        """Every refused call: id, run, JSON, reason, Unix time."""
        return self._run("SELECT id, run, record, reason, at FROM rejected ORDER BY at")

    def clear_rejected(self) -> int:
        """Throw the refused calls away; says how many."""
        count = int(self._run("SELECT count(*) FROM rejected")[0][0])
        self._run("DELETE FROM rejected")
        return count

    # --- creations on their way ------------------------------------------------------------------------

    def sending(self, prov: str) -> None:
        """A creation is about to be sent: from now on its outcome is unknown until it is bound or unsent."""
        self._run("INSERT OR REPLACE INTO sent VALUES (?, ?)", (prov, time.time()))

    def unsent(self, prov: str) -> None:
        """It certainly never reached the server."""
        self._run("DELETE FROM sent WHERE prov = ?", (prov,))

    def sent(self, prov: str) -> bool:
        """Whether it was sent before with an unknown outcome."""
        return bool(self._run("SELECT 1 FROM sent WHERE prov = ?", (prov,)))

    # --- runs whose creation was sent more than once ---------------------------------------------------

    def suspect(self, prov: str, experiment: str, seconds: float) -> None:
        """A creation whose first outcome is unknown: look for a second run until then."""
        self._run("INSERT OR REPLACE INTO suspects VALUES (?, ?, ?)", (prov, experiment, time.time() + seconds))

    def suspects(self) -> list[tuple[str, str, float]]:
        """Creations to look at again."""
        return self._run("SELECT prov, experiment, until FROM suspects")

    def cleared(self, prov: str) -> None:
        """Nothing more can come of this creation."""
        self._run("DELETE FROM suspects WHERE prov = ?", (prov,))

    # --- experiments, so that a start without the server still knows their ids -------------------------

    def experiment(self, key: str) -> Optional[dict[str, Any]]:
        """A remembered experiment by `id:...` or `name:...`."""
        rows = self._run("SELECT body FROM experiments WHERE key = ?", (key,))
        return dict(json.loads(rows[0][0])) if rows else None

    def remember_experiment(self, body: dict[str, Any]) -> None:
        """Remember an experiment the server described, under its id and its name."""
        text = json.dumps(body)
        for key in (f"id:{body['experiment_id']}", f"name:{body['name']}"):
            self._run("INSERT OR REPLACE INTO experiments VALUES (?, ?)", (key, text))

    # --- notes for people ------------------------------------------------------------------------------

    def note(self, name: str, value: str) -> None:
        """Keep the latest value of something `status` shows."""
        self._run("INSERT OR REPLACE INTO notes VALUES (?, ?, ?)", (name, value, time.time()))

    def add(self, name: str, amount: int) -> None:
        """Add to a counter."""
        self._run(
            "INSERT INTO notes VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET"
            " value = CAST(value AS INTEGER) + excluded.value, at = excluded.at",
            (name, str(amount), time.time()),
        )

    def notes(self) -> dict[str, tuple[str, float]]:
        """Every note: name -> (value, Unix time)."""
        return {str(name): (str(value), float(at)) for name, value, at in self._run("SELECT * FROM notes")}
