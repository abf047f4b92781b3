"""A PostgreSQL database as a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from liftlock import clock
from liftlock.effects import side_effect
from liftlock.errors import Refused, StoreError
from liftlock.model.deployment import Role, StoreFacts, TableFacts, Writer
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, silent
from liftlock.model.secret import redact
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores import postgresql_catalog as catalog
from liftlock.stores import postgresql_database as database
from liftlock.stores import postgresql_schema as schema
from liftlock.stores.postgresql_connect import (
    Connection,
    bind,
    missing_database,
    parameters,
    session,
    snapshot_transaction,
    translated,
)
from liftlock.stores.postgresql_dump import COPY_STREAMS, PG_DUMP, Hashed, copy_out, dump, inventory
from liftlock.stores.postgresql_fingerprint import SEQUENCES, fingerprint
from liftlock.stores.postgresql_restore import restore
from liftlock.stores.postgresql_tools import find_tools
from liftlock.stores.proof import require_equal

_SMALL = 1 << 20  # bytes; a table up to this size is counted, a larger one estimated
_BATCH = 5000  # rows fetched at a time


class PostgresqlStore:
    """One database. See `stores.interface.Store` for what each method promises.

    `method` forces how snapshots are taken (`pg-dump-directory` or `copy-streams`); by default pg_dump is used
    where one fits the server.
    """

    def __init__(self, uri: StoreUri, role: Role, *, method: str | None = None) -> None:
        name = parameters(uri).get("dbname") or parameters(uri).get("user", "")
        self.uri = uri if uri.database == name else uri.with_database(name)
        self.role = role
        self._method = method
        self._scratch_of: str | None = None

    def exists(self) -> bool:
        """Whether the database is there and lets us in. Raises StoreError where that cannot be told."""
        try:
            with session(self.uri):
                return True
        except StoreError as error:
            if missing_database(error.message):
                return False
            raise

    def revision(self) -> str | None:
        """The Alembic revision of this role's chain; None where there is none."""
        with session(self.uri) as connection:
            return self._revision(catalog.versions(connection, catalog.tables(connection)))[0]

    def facts(self, *, exact_rows: bool = False) -> StoreFacts:
        """Observe the database. Without `exact_rows` tables over 1 MiB give the server's estimate of their rows."""
        with session(self.uri) as connection, snapshot_transaction(connection):
            found = catalog.tables(connection, sizes=True)
            rights = catalog.rights(connection, found)
            if not rights["read"]:
                raise StoreError(
                    f"{redact(str(self.uri))}: the login may not read every table",
                    hint="Grant it SELECT on all tables, or use the owner of the database.",
                )
            versions = catalog.versions(connection, found)
            revision, version_table = self._revision(versions)
            row = connection.execute(
                "SELECT current_setting('server_version'), pg_database_size(current_database())"
            ).fetchone()
            assert row is not None
            return StoreFacts(
                role=self.role,
                engine=Engine.POSTGRESQL,
                uri=redact(str(self.uri)),
                engine_version=str(row[0]).split()[0],
                revision=revision,
                version_table=version_table,
                versions=versions,
                tables=tuple(
                    TableFacts(name=table.name, rows=_rows(connection, table, exact_rows), bytes=table.bytes)
                    for table in found
                ),
                bytes=int(row[1]),
                rights={**rights, "maintenance database": self._has_maintenance()},
                writers=catalog.writers(connection),
            )

    def columns(self) -> dict[str, tuple[str, ...]]:
        """Every table -> its columns in name order, generated ones included; `(sequences)` -> the sequences' names."""
        with session(self.uri) as connection:
            found = {table.name: tuple(sorted(table.columns)) for table in catalog.tables(connection)}
            return {**found, SEQUENCES: tuple(sorted(catalog.sequences(connection)))}

    def check_integrity(self) -> tuple[str, ...]:
        """Indexes that a failed build left unusable and constraints never validated: what PostgreSQL itself knows."""
        with session(self.uri) as connection:
            return tuple(
                str(row[0])
                for row in connection.execute(
                    """SELECT format('index %s is not valid', i.indexrelid::regclass)
                         FROM pg_index i WHERE NOT i.indisvalid
                       UNION ALL
                       SELECT format('constraint %I of %s was never validated', k.conname, k.conrelid::regclass)
                         FROM pg_constraint k WHERE NOT k.convalidated ORDER BY 1"""
                )
            )

    def writers(self, *, ignore_pids: frozenset[int] = frozenset()) -> tuple[Writer, ...]:
        """Others connected to the database; the process ids are those of the server's sessions."""
        with session(self.uri) as connection:
            return catalog.writers(connection, ignore_pids)

    def fingerprint(
        self, *, columns: Mapping[str, Sequence[str]] | None = None, observer: Observer = silent
    ) -> Fingerprint:
        """Hash all tables and sequences, or just these columns of these tables, at one moment, inside the server."""
        with session(self.uri) as connection, snapshot_transaction(connection):
            return fingerprint(connection, columns=columns, observer=observer)

    def snapshot(self, directory: Path, *, observer: Observer = silent) -> StoreSnapshot:
        """Write a consistent copy into an empty directory; writers are never blocked, only changes of schema wait."""
        started = clock.monotonic()
        with session(self.uri) as connection, snapshot_transaction(connection):
            version = connection.info.server_version // 10000
            programs = None if self._method == COPY_STREAMS else find_tools(version)
            if programs is None and self._method == PG_DUMP:
                raise StoreError(f"no pg_dump of PostgreSQL {version} or newer was found")
            revision, version_table = self._revision(catalog.versions(connection, catalog.tables(connection)))
            hashed: Hashed = {}
            if programs is not None:
                taken, hashed = dump(connection, self.uri, programs, directory, observer)
            else:
                taken = copy_out(connection, self.uri, directory, observer)
            shown = connection.execute("SHOW server_version").fetchone()
            assert shown is not None
        return StoreSnapshot(
            role=self.role,
            engine=Engine.POSTGRESQL,
            engine_version=str(shown[0]).split()[0],
            method=COPY_STREAMS if programs is None else PG_DUMP,
            directory=".",
            revision=revision,
            version_table=version_table,
            fingerprint=taken,
            files=inventory(directory, hashed),
            seconds=clock.monotonic() - started,
        )

    def restore(self, snapshot: StoreSnapshot, directory: Path, *, observer: Observer = silent) -> None:
        """Replace the whole content, all or nothing (`postgresql_restore` says how)."""
        with translated(self.uri):
            restore(self.uri, snapshot, directory, model=self._scratch_of or self.uri.database, observer=observer)

    def prove(self, snapshot: StoreSnapshot, *, observer: Observer = silent) -> Fingerprint:
        """Compare the restored rows with the snapshot's by fingerprint."""
        taken = self.fingerprint(observer=observer)
        require_equal(taken, snapshot)
        return taken

    def tidy(self) -> None:
        """Drop the databases that a killed restore left beside this one (nothing else of ours outlives a call)."""
        try:
            with database.maintenance(self.uri) as server:
                # Without the database itself the retired one holds its content: that is for a person.
                if database.exists(server, self.uri.database):
                    database.drop_leftovers(server, self.uri.database)
        except StoreError as error:
            if error.retryable:
                raise
            # No other database of the server lets us in, so none of ours can be there either.

    def scratch(self, name: str) -> PostgresqlStore:
        """A store `DATABASE_liftlock_NAME` on the same server."""
        if not name or not name.replace("-", "").replace("_", "").isalnum() or name in ("restore", "old"):
            raise StoreError(f"{name!r} is no name for a scratch database", hint="Use letters, digits, - and _.")
        other = PostgresqlStore(
            self.uri.with_database(database.beside(self.uri.database, name)), self.role, method=self._method
        )
        other._scratch_of = self.uri.database
        return other

    def drop(self) -> None:
        """Drop a scratch database, ending whoever is still connected to it."""
        if self._scratch_of is None:
            raise Refused(
                f"{redact(str(self.uri))} is no scratch database of liftlock",
                hint="Only scratch databases are dropped.",
            )
        with database.maintenance(self.uri) as server, side_effect("drop scratch database"):
            database.drop_leftovers(server, self.uri.database)
            database.drop(server, self.uri.database)

    def discard(self, *, saved_as: str) -> None:
        """Drop the database, ending whoever is still connected to it."""
        if not saved_as:
            raise Refused(
                f"{redact(str(self.uri))} is in no verified backup", hint="Nothing is removed that was not saved."
            )
        with database.maintenance(self.uri) as server, side_effect("discard database"):
            database.drop_leftovers(server, self.uri.database)
            database.drop(server, self.uri.database)

    def schema_dump(self) -> str:
        """All schemas, tables, keys, indexes, views, triggers, functions, owners and grants as stable SQL."""
        with session(self.uri) as connection, snapshot_transaction(connection):
            return schema.read(connection).text()

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> Iterator[Mapping[str, Any]]:
        """Run one SELECT in a read-only transaction; rows come from a cursor of the server."""
        text, values = bind(query, parameters)
        with session(self.uri) as connection, snapshot_transaction(connection):
            cursor = connection.cursor("liftlock", row_factory=dict_row)
            cursor.itersize = _BATCH
            yield from cursor.execute(text.encode(), values)

    def _revision(self, versions: Mapping[str, tuple[str, ...]]) -> tuple[str | None, str | None]:
        """The revision and the table it stands in; (None, None) without such a table."""
        names = ("alembic_version_auth", "alembic_version") if self.role is Role.AUTH else ("alembic_version",)
        for name in names:
            if name in versions:
                return (versions[name][0] if versions[name] else None, name)
        return (None, None)

    def _has_maintenance(self) -> bool:
        try:
            with database.maintenance(self.uri):
                return True
        except StoreError:
            return False


def _rows(connection: Connection, table: catalog.Table, exact: bool) -> int:
    if exact or table.estimate < 0 or table.bytes <= _SMALL:
        return catalog.count(connection, table)
    return table.estimate
