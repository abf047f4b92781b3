"""A database of a few rows at blue's schema that goes through the target release's own migrations.

SQLite's are copies of an empty one that is made once per upgrade (`prepare`), in memory (`/dev/shm`) where there is
one, in a directory only its owner may read. PostgreSQL's is a database on blue's own server, made fresh ahead of time
(`prepare` again), so that the hold does not pay for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from psycopg import sql

from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.files import remove_tree
from liftlock.knowledge.schema import VERSION_TABLES
from liftlock.model.uri import Engine, StoreUri
from liftlock.releases.tools import WarmWorker
from liftlock.stores import postgresql_catalog, postgresql_schema, sqlite_schema
from liftlock.stores import postgresql_database as database
from liftlock.stores.interface import Store
from liftlock.stores.live import Row, Shape
from liftlock.stores.opening import live
from liftlock.stores.postgresql_connect import session, snapshot_transaction
from liftlock.stores.sqlite_connection import connect, errors, quote, reading

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the directory made in it is the owner's alone
_TIMEOUT = 120.0
_ALL = 10_000_000
_USES = 100
# Owners and grants mean nothing to migrations, and making them may need rights that a login lacks.
_OF_OTHERS = ("GRANT ", "COMMENT ", "ALTER ROUTINE ")


@dataclass(frozen=True)
class Migrated:
    """Rows in green's schema, in the order of `Shape.columns`, and the counters after it (as `Live.sequences`)."""

    rows: Mapping[str, Sequence[Row]]
    sequences: Mapping[str, int] = field(default_factory=dict)


class Scratch(Protocol):
    """Takes rows through the migrations. All methods raise StoreError, `migrate` ReleaseError too."""

    def prepare(self) -> None:
        """Do ahead what can be done ahead. Idempotent; `migrate` does it itself where nobody did."""
        ...

    def migrate(self, rows: Mapping[str, Sequence[Row]], tables: Collection[str]) -> Migrated:
        """All rows of green's `tables` after these rows of blue's tables went through the migrations alone."""
        ...

    def close(self) -> None:
        """Remove everything, also what a killed process of the same name left. Idempotent."""
        ...


class SqliteScratch:
    """Scratch files for a SQLite blue. `name` tells upgrades of the same database apart and is the same on a resume."""

    def __init__(
        self, blue: Store, name: str, worker: WarmWorker | None, shapes: Mapping[str, Shape],
        targets: Mapping[str, Shape], *, directory: Path | None = None,
    ) -> None:  # fmt: skip
        assert blue.uri.engine is Engine.SQLITE
        self._blue, self._worker, self._shapes, self._targets = blue, worker, shapes, targets
        place = directory or (_SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else blue.uri.path.parent)
        digest = hashlib.sha256(f"{os.getuid()} {blue.uri.path.resolve()} {name}".encode()).hexdigest()[:16]
        self._directory = place / f"liftlock-scratch-{digest}"
        self._template = self._directory / "template.db"
        self._file = self._directory / "work.db"
        self._ready = False

    def prepare(self) -> None:
        """Make the template, as `Scratch.prepare` says."""
        if self._ready:
            return
        with side_effect("make scratch template"), errors(self._directory):
            self.close()
            self._directory.mkdir(mode=0o700)  # fails where somebody else was quicker
            with reading(self._blue.uri.path) as source:
                statements = [text for _, _, _, text in sqlite_schema.definitions(source)]
                versions = {
                    table: source.execute(f"SELECT version_num FROM {table}").fetchall()
                    for table in sorted(VERSION_TABLES & set(sqlite_schema.table_names(source)))
                }
            with closing(connect(self._template, mode="rwc")) as target:
                target.execute("BEGIN")
                for statement in statements:
                    target.execute(statement)
                for table, rows in versions.items():
                    target.executemany(f"INSERT INTO {table} VALUES (?)", rows)
                target.execute("COMMIT")
        self._ready = True

    def migrate(self, rows: Mapping[str, Sequence[Row]], tables: Collection[str]) -> Migrated:
        """As `Scratch.migrate` says."""
        self.prepare()
        with side_effect("migrate scratch"), errors(self._file):
            self._remove()
            shutil.copyfile(self._template, self._file)
            self._file.chmod(0o600)
            try:
                with closing(connect(self._file, mode="rw")) as target:
                    self._fill(target, rows)
                assert self._worker is not None, "made for closing only"
                self._worker.migrate(self._blue.uri.with_database(str(self._file)), self._blue.role, timeout=_TIMEOUT)
                with closing(connect(self._file)) as source:
                    return Migrated({table: self._read(source, table) for table in tables})
            finally:
                self._remove()

    def close(self) -> None:
        """As `Scratch.close` says."""
        self._ready = False
        if self._directory.exists():
            if self._directory.stat().st_uid != os.getuid():
                raise StoreError(f"{self._directory} belongs to somebody else", hint="Remove it, then try again.")
            remove_tree(self._directory)

    def _fill(self, target: sqlite3.Connection, rows: Mapping[str, Sequence[Row]]) -> None:
        target.execute("PRAGMA synchronous = OFF")
        target.execute("BEGIN")
        for table, values in rows.items():
            columns = self._shapes[table].columns
            names, marks = ", ".join(map(quote, columns)), ", ".join("?" * len(columns))
            target.executemany(f"INSERT INTO {quote(table)} ({names}) VALUES ({marks})", values)
        target.execute("COMMIT")

    def _read(self, source: sqlite3.Connection, table: str) -> list[Row]:
        shape = self._targets[table]
        order = ", ".join(map(quote, shape.key)) or "1"
        return source.execute(
            f"SELECT {', '.join(map(quote, shape.columns))} FROM {quote(table)} ORDER BY {order}"
        ).fetchall()

    def _remove(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)


class PostgresqlScratch:
    """A scratch database on blue's server, for its login, made fresh again ahead of time by `prepare`.

    It is emptied and filled again by statements: dropping a database makes the whole server write to disk what it
    holds, and everybody waits for that.
    """

    def __init__(
        self,
        blue: Store,
        name: str,
        worker: WarmWorker | None,
        shapes: Mapping[str, Shape],
        targets: Mapping[str, Shape],
    ) -> None:
        assert blue.uri.engine is Engine.POSTGRESQL
        self._blue, self._worker, self._shapes, self._targets = blue, worker, shapes, targets
        self._store = blue.scratch(f"{name}-w")
        self._schema = ""
        self._uses = 0
        self._made = self._fresh = False

    def prepare(self) -> None:
        """Make the database, or what it was when it was made."""
        if self._made and self._uses >= _USES:
            self.close()  # the catalogue keeps something of every table that was there
        if not self._made:
            self._make()
        elif not self._fresh:
            self._refresh()

    def migrate(self, rows: Mapping[str, Sequence[Row]], tables: Collection[str]) -> Migrated:
        """As `Scratch.migrate` says."""
        self.prepare()
        self._fresh, self._uses = False, self._uses + 1
        scratch = live(self._store)
        with scratch.applying() as target:
            for table, values in rows.items():
                if values:
                    target.insert(table, self._shapes[table].columns, values)
        with side_effect("migrate scratch"):
            assert self._worker is not None, "made for closing only"
            self._worker.migrate(_careless(self._store.uri), self._blue.role, timeout=_TIMEOUT)
        with scratch.look() as view:
            found = {table: view.after(table, None, _ALL) for table in tables}
        return Migrated(found, scratch.sequences())

    def close(self) -> None:
        """As `Scratch.close` says."""
        self._made = self._fresh = False
        self._store.drop()

    def _make(self) -> None:
        with side_effect("make scratch"):
            self._schema = self._schema or _empty_schema(self._blue.uri)
            self._store.drop()
            with database.maintenance(self._blue.uri) as server:
                database.create_like(server, self._store.uri.database, self._blue.uri.database)
            with session(self._store.uri) as target, target.transaction():
                target.execute(self._schema.encode())
        self._made, self._fresh, self._uses = True, True, 0

    def _refresh(self) -> None:
        with side_effect("refresh scratch"), session(self._store.uri) as target:
            schemas = target.execute(
                "SELECT nspname, pg_has_role(nspowner, 'USAGE') FROM pg_namespace"
                " WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
            ).fetchall()
            if ours := all(owned for _, owned in schemas):
                with target.transaction():  # it waits for the disk: what a crash undid would be taken for fresh
                    for name, _ in schemas:
                        target.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
                    target.execute(self._schema.encode())
        if ours:
            self._fresh = True
        else:  # before PostgreSQL 15 the schema `public` of a database is not its owner's
            self._make()


def _empty_schema(uri: StoreUri) -> str:
    """Statements that make a database's schema without its rows, but for the revisions it is at."""
    with session(uri) as source, snapshot_transaction(source):
        # Before the schema is read, which changes what this transaction sees without naming a schema.
        kept = [table for table in postgresql_catalog.tables(source) if table.relation in VERSION_TABLES]
        versions = [
            sql.SQL("INSERT INTO {} VALUES ({})").format(table.identifier, sql.Literal(value)).as_string()
            for table in kept
            for (value,) in source.execute(sql.SQL("SELECT version_num FROM {}").format(table.identifier)).fetchall()
        ]
        found = postgresql_schema.read(source)
    made = [
        statement
        for statement in (*found.before, *found.after)
        if not statement.startswith(_OF_OTHERS) and " OWNER TO " not in statement
    ]
    return "".join(f"{statement};\n" for statement in (*made, *versions))


def _careless(uri: StoreUri) -> StoreUri:
    """The same database, not waiting for the disk at a commit: what is lost in a crash is made anew."""
    return uri.with_options("-c synchronous_commit=off")


def scratch(
    blue: Store, name: str, worker: WarmWorker | None, shapes: Mapping[str, Shape], targets: Mapping[str, Shape]
) -> Scratch:  # fmt: skip
    """The scratch for blue's engine; `shapes` are blue's, `targets` green's. Nothing is made yet.

    `name` (letters, digits, -) tells upgrades of one database apart and is the same on a resume. Without a `worker` it
    can only be closed: that removes what a killed process left.
    """
    if blue.uri.engine is Engine.SQLITE:
        return SqliteScratch(blue, name, worker, shapes, targets)
    return PostgresqlScratch(blue, name, worker, shapes, targets)
