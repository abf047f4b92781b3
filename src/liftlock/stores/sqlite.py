"""A SQLite file as a store. What reads or writes whole databases is loaded when it is needed: `status` asks little."""

from __future__ import annotations

import glob
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import Refused, StoreCorrupt, StoreError
from liftlock.files import remove_tree, sync_directory
from liftlock.model.deployment import Role, StoreFacts, TableFacts, Writer
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, silent
from liftlock.model.snapshot import FileEntry, StoreSnapshot
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores import sqlite_schema as schema
from liftlock.stores.sqlite_connection import errors, quote, reading, side_files

METHOD = "sqlite-file"
_FILE = "database.sqlite"
_SCRATCH = re.compile(r"\.liftlock-[a-z0-9][a-z0-9_-]*$")


class SqliteStore:
    """One SQLite file. See `stores.interface.Store` for what each method promises."""

    def __init__(self, uri: StoreUri, role: Role) -> None:
        self.uri = uri
        self.role = role

    @property
    def path(self) -> Path:
        """The file itself, behind any symbolic link."""
        return self.uri.path.resolve()

    def exists(self) -> bool:
        """Whether the file is there and SQLite can read it. Raises StoreCorrupt where it is no database."""
        if not self.path.exists():
            return False
        with reading(self.path):
            return True

    def revision(self) -> str | None:
        """The Alembic revision of this role's chain; None where there is none."""
        with reading(self.path) as connection:
            return _revision(connection, self.role)[0]

    def facts(self, *, exact_rows: bool = False) -> StoreFacts:
        """Observe the database.

        Without `exact_rows` the rows of a table are the highest rowid, read at once and never too low unless
        somebody set rowids by hand; with it they are counted and bytes come from `dbstat`, which reads the file.
        """
        with reading(self.path) as connection:
            revision, version_table = _revision(connection, self.role)
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            names = schema.table_names(connection)
            sizes = _table_bytes(connection) if exact_rows else {}
            count = _count if exact_rows else _estimate
            return StoreFacts(
                role=self.role,
                engine=Engine.SQLITE,
                uri=str(self.uri),
                engine_version=sqlite3.sqlite_version,
                revision=revision,
                version_table=version_table,
                versions={name: _versions(connection, name) for name in names if name.startswith("alembic_version")},
                tables=tuple(
                    TableFacts(name=name, rows=count(connection, name), bytes=sizes.get(name)) for name in names
                ),
                bytes=sum(file.stat().st_size for file in (self.path, *side_files(self.path)[:1]) if file.exists()),
                journal_mode=mode,
                rights={
                    "read": True,
                    "write": os.access(self.path, os.W_OK),
                    "write directory": os.access(self.path.parent, os.W_OK),
                },
                writers=self.writers(),
            )

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Every table -> its columns in name order, generated ones included."""
        with reading(self.path) as connection:
            return {name: tuple(schema.columns(connection, name)) for name in schema.table_names(connection)}

    def check_integrity(self) -> tuple[str, ...]:
        """What quick_check and foreign_key_check find; empty when sound. A damaged file is an answer, not an error."""
        try:
            with self._view() as connection:
                return integrity(connection)
        except StoreCorrupt as error:
            return (error.message,)

    def writers(self, *, ignore_pids: frozenset[int] = frozenset()) -> tuple[Writer, ...]:
        """Other processes that have the file (or its log or journal) open for writing."""
        from liftlock.stores.sqlite_writers import writers

        return writers(self.path, ignore_pids=ignore_pids)

    def fingerprint(
        self, *, columns: Mapping[str, Sequence[str]] | None = None, observer: Observer = silent
    ) -> Fingerprint:
        """Hash all tables, or just these columns of these tables, at one moment."""
        from liftlock.stores.sqlite_fingerprint import fingerprint

        with self._view() as connection:
            return fingerprint(connection, only=columns, observer=observer)

    def snapshot(self, directory: Path, *, observer: Observer = silent) -> StoreSnapshot:
        """Write a consistent copy into an empty directory; method `sqlite-file`, one file `database.sqlite`.

        The copy is hashed as a file while it is written and flushed; its rows are not: `prove` does that.
        """
        from liftlock.stores.sqlite_copy import copy_database

        started = clock.monotonic()
        target = directory / _FILE
        try:
            with errors(target):
                with side_effect(f"copy database {self.role}"):
                    copied = copy_database(self.path, target, observer=observer)
                with reading(target, immutable=True) as connection:
                    revision, version_table = _revision(connection, self.role)
                sync_directory(directory)
        except BaseException:
            target.unlink(missing_ok=True)  # half a copy only takes space, perhaps the last of it
            raise
        return StoreSnapshot(
            role=self.role,
            engine=Engine.SQLITE,
            engine_version=sqlite3.sqlite_version,
            method=METHOD,
            directory=".",
            revision=revision,
            version_table=version_table,
            fingerprint=None,
            files=(FileEntry(path=_FILE, bytes=target.stat().st_size, sha256=copied.sha256),),
            seconds=clock.monotonic() - started,
            longest_block_seconds=copied.longest_block_seconds,
        )

    def prove(self, snapshot: StoreSnapshot, *, observer: Observer = silent) -> Fingerprint:
        """Compare the restored file with the snapshot's byte for byte (SHA-256), check it and hash its rows."""
        from concurrent.futures import ThreadPoolExecutor

        from liftlock.stores.proof import require_equal
        from liftlock.stores.sqlite_fingerprint import fingerprint

        (entry,) = snapshot.files
        with (
            errors(self.path),
            ThreadPoolExecutor(max_workers=1) as pool,
            reading(self.path, immutable=True) as connection,
        ):
            beside = pool.submit(_check, self.path, entry)
            taken = fingerprint(connection, observer=observer)
            beside.result()
        require_equal(taken, snapshot)
        return taken

    def restore(self, snapshot: StoreSnapshot, directory: Path, *, observer: Observer = silent) -> None:
        """Replace the file by the snapshot's, all or nothing (`sqlite_restore` says in which order and why)."""
        from liftlock.stores.sqlite_restore import restore_file

        if snapshot.method != METHOD:
            raise StoreError(
                f"a {snapshot.method} snapshot cannot be restored into SQLite", hint="Name a PostgreSQL database."
            )
        (entry,) = snapshot.files
        restore_file(directory / entry.path, entry, self.path, observer=observer)

    def scratch(self, name: str, *, directory: Path | None = None) -> SqliteStore:
        """A store `FILE.liftlock-NAME` beside this one, or in another directory."""
        path = (directory or self.path.parent) / f"{self.path.name}.liftlock-{name}"
        if not _SCRATCH.search(path.name):
            raise StoreError(f"{name!r} is no name for a scratch database", hint="Use a-z, 0-9, - and _.")
        return SqliteStore(self.uri.with_database(str(path)), self.role)

    def drop(self) -> None:
        """Remove a scratch database with what SQLite left beside it."""
        if not _SCRATCH.search(self.path.name):
            raise Refused(f"{self.path} is no scratch database of liftlock", hint="Only scratch databases are dropped.")
        with side_effect("drop scratch database"):
            self._remove()

    def discard(self, *, saved_as: str) -> None:
        """Remove the file with what SQLite left beside it."""
        if not saved_as:
            raise Refused(f"{self.path} is in no verified backup", hint="Nothing is removed that was not saved.")
        with side_effect("discard database"):
            self._remove()

    def tidy(self) -> None:
        """Drop triggers and log of a killed snapshot, remove private copies and half-written restores."""
        from liftlock.stores.sqlite_dirty import remove_leftovers
        from liftlock.stores.sqlite_restore import half_restored

        _remove_dead_views(self.path.parent, self._view_prefix)
        with errors(self.path):
            half_restored(self.path).unlink(missing_ok=True)
        if not self.path.exists() or not os.access(self.path, os.W_OK):
            return
        # Nothing can be removed from a file that SQLite cannot read.
        with suppress(StoreCorrupt):
            remove_leftovers(self.path)

    def schema_dump(self) -> str:
        """All tables, indexes, views and triggers as sorted SQL."""
        with reading(self.path) as connection:
            return schema.dump(connection)

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """Run one SELECT. In rollback-journal mode others cannot commit until the last row was taken."""
        with reading(self.path) as connection:
            cursor = connection.execute(query, parameters or {})
            names = [column[0] for column in cursor.description or ()]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def _remove(self) -> None:
        from liftlock.stores.sqlite_restore import half_restored

        with errors(self.path):
            for file in (self.path, *side_files(self.path), half_restored(self.path)):
                file.unlink(missing_ok=True)

    @property
    def _view_prefix(self) -> str:
        return f".{self.path.name}.view-"

    @contextmanager
    def _view(self) -> Iterator[sqlite3.Connection]:
        """A connection for a long read that blocks nobody.

        That is the file itself where it has a write-ahead log or nobody else has it open; else a private copy, gone
        at the end. Raises a retryable StoreError where the database never stands still for as long as copying takes.
        """
        from liftlock.stores.sqlite_copy import copy_database

        with reading(self.path) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
            if mode == "wal" or not self.writers():
                yield connection
                return
        # Beside the database there is room for it; a system's temporary directory may lie in memory.
        beside = self.path.parent if os.access(self.path.parent, os.W_OK) else None
        if beside:
            _remove_dead_views(beside, self._view_prefix)
        with (
            errors(self.path),
            tempfile.TemporaryDirectory(prefix=f"{self._view_prefix}{os.getpid()}-", dir=beside) as directory,
        ):
            copy = Path(directory) / _FILE
            copy_database(self.path, copy, keep=False)
            with reading(copy, immutable=True) as connection:
                yield connection


def integrity(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Problems of a database, one line each."""
    found = [f"quick_check: {' '.join(str(row[0]).split())}" for row in connection.execute("PRAGMA quick_check")]
    broken = [
        f"foreign_key_check: {table} row {rowid} names a missing row of {parent}"
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check")
    ]
    return tuple([line for line in found if line != "quick_check: ok"] + broken)


def _remove_dead_views(place: Path, prefix: str) -> None:
    """Remove private copies of processes that were killed before they could."""
    for entry in place.glob(f"{glob.escape(prefix)}*"):
        pid = entry.name.removeprefix(prefix).partition("-")[0]
        if not pid.isdigit() or not Path("/proc", pid).exists():
            remove_tree(entry)


def _check(path: Path, entry: FileEntry) -> None:
    from liftlock.stores.sink import sha256

    if path.stat().st_size != entry.bytes or sha256(path) != entry.sha256:
        raise StoreCorrupt(
            f"{path} is not the file that was saved", hint="Check the disk; nobody may write to it meanwhile."
        )
    with reading(path, immutable=True) as connection:
        problems = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problems != "ok":
        raise StoreCorrupt(
            f"the database is damaged: {' '.join(problems.split())}",
            hint="Recover what is readable with `sqlite3 FILE .recover`, or restore a backup.",
        )


def _revision(connection: sqlite3.Connection, role: Role) -> tuple[str | None, str | None]:
    """The revision and the table it stands in; (None, None) without such a table."""
    present = set(schema.table_names(connection))
    names = ("alembic_version_auth", "alembic_version") if role is Role.AUTH else ("alembic_version",)
    for name in names:
        if name in present:
            found = _versions(connection, name)
            return (found[0] if found else None, name)
    return (None, None)


def _versions(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    try:
        return tuple(str(row[0]) for row in connection.execute(f"SELECT version_num FROM {quote(table)} ORDER BY 1"))
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return ()  # somebody else's table that happens to have such a name


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quote(table)}").fetchone()[0])


def _estimate(connection: sqlite3.Connection, table: str) -> int:
    try:
        return int(connection.execute(f"SELECT max(rowid) FROM {quote(table)}").fetchone()[0] or 0)
    except sqlite3.OperationalError as error:
        if "no such column" not in str(error):
            raise
        return _count(connection, table)  # WITHOUT ROWID


def _table_bytes(connection: sqlite3.Connection) -> dict[str, int]:
    """Bytes of each table with its indexes; empty where this SQLite was built without dbstat."""
    try:
        found = connection.execute(
            "SELECT m.tbl_name, sum(s.pgsize) FROM dbstat s JOIN sqlite_master m ON m.name = s.name "
            "WHERE s.aggregate = TRUE GROUP BY 1"
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" not in str(error):
            raise
        return {}
    return {name: int(size) for name, size in found}
