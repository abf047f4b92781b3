"""Putting a snapshot back, all or nothing.

Where the login may make databases: into a database beside the old one, compared there with the snapshot's fingerprint,
then both names are swapped in one transaction and the old one is dropped. A crash leaves leftovers under names of
ours, which the next call removes. Where it may not: everything in one transaction inside the database (the tables are
locked meanwhile), which commits only after the same comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
from psycopg import sql

from liftlock.effects import side_effect
from liftlock.errors import Refused, StoreError
from liftlock.model.codec import from_json
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer, Progress
from liftlock.model.snapshot import StoreSnapshot
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_database as database
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_catalog import tables
from liftlock.stores.postgresql_connect import Connection, session, snapshot_transaction
from liftlock.stores.postgresql_dump import (
    COPY_STREAMS,
    JOBS,
    PG_DUMP,
    SCHEMA,
    SCHEMA_AFTER,
    TABLES,
    TableFile,
    check_files,
    copy_target,
)
from liftlock.stores.postgresql_fingerprint import ALGORITHM, fingerprint
from liftlock.stores.postgresql_inplace import copy_in_place, load_in_place
from liftlock.stores.postgresql_load import load as load_archive


def restore(uri: StoreUri, snapshot: StoreSnapshot, directory: Path, *, model: str, observer: Observer) -> None:
    """Replace the database's whole content. `model` names the database whose properties a new one gets.

    Raises StoreCorrupt before anything is touched when a file was damaged, Refused when there are tables that are
    neither the snapshot's nor can come from a migration, StoreError when the loaded data is not the snapshot's.
    """
    if snapshot.method not in (PG_DUMP, COPY_STREAMS):
        raise StoreError(f"a snapshot of kind {snapshot.method} cannot be put into PostgreSQL")
    expected = snapshot.fingerprint
    if expected is None:
        raise StoreError("the snapshot has no fingerprint, so a restored database could not be compared with it")
    if expected.algorithm != ALGORITHM:
        raise StoreError(
            f"the snapshot's fingerprint is of kind {expected.algorithm}, which cannot be compared here",
            hint="Use the release of liftlock that took it.",
        )
    observer(Progress(work="check files"))
    with ThreadPoolExecutor(1) as pool:
        checking = pool.submit(check_files, directory, snapshot.files)
        try:
            with database.maintenance(uri) as server:
                present = database.exists(server, uri.database)
                swap = database.may_swap(server, uri.database)
        except StoreError as error:
            if error.retryable:
                raise
            present, swap = True, False  # no other database lets us in; this one answers for itself below
        if present:
            _refuse_strangers(uri, expected)
        elif not swap:
            raise StoreError(f"the login may not make the database {uri.database}", hint="Grant it CREATEDB.")
        if swap:
            check = checking.result
            _beside(uri, snapshot, expected, directory, check, model=model, present=present, observer=observer)
            return
    checking.result()
    if snapshot.method == PG_DUMP:
        observer(Progress(work="restore in place"))
        load_in_place(uri, _programs(snapshot, directory), expected, directory, compare)
    else:
        observer(Progress(work="restore in place"))
        copy_in_place(uri, expected, directory, compare)


def compare(expected: Fingerprint, connection: Connection, *, parallel: bool = True) -> None:
    """Raise StoreError unless the connection's open transaction sees exactly the expected data."""
    if different := expected.differences(fingerprint(connection, parallel=parallel)):
        raise StoreError(
            f"the restored data is not the snapshot's: {', '.join(different[:5])}",
            hint="The database was left as it was. Keep the snapshot and report this.",
        )


def _beside(
    uri: StoreUri,
    snapshot: StoreSnapshot,
    expected: Fingerprint,
    directory: Path,
    check: Callable[[], None],
    *,
    model: str,
    present: bool,
    observer: Observer,
) -> None:
    """Load into a database beside; `check` is waited for when that is there, and before anything is put into it."""
    name = uri.database
    side, retired = database.beside(name, "restore"), database.beside(name, "old")
    restored = uri.with_database(side)
    # A scratch database replaces none and is soon dropped again, unwritten for the most part.
    beside = database.flushed_beside if present else _alone

    def prove(*, parallel: bool = True) -> None:
        observer(Progress(work="compare"))
        with session(restored) as connection, snapshot_transaction(connection):
            compare(expected, connection, parallel=parallel)

    with database.maintenance(uri) as server:
        if not database.exists(server, name) and database.exists(server, retired):
            raise StoreError(
                f"the database {name} is gone and {retired} is there",
                hint=f"Rename {retired} to {name}, then try again.",
            )
        database.drop_leftovers(server, name)
        try:
            with side_effect("create restore database"):
                database.create_like(server, side, name if database.exists(server, name) else model)
                database.copy_properties(server, name, side)
            check()
            observer(Progress(work="load"))
            with side_effect("load restore database"):
                if snapshot.method == PG_DUMP:
                    programs = _programs(snapshot, directory)
                    load_archive(restored, programs, directory, jobs=JOBS, beside=beside, prove=prove)
                else:
                    _copy_in(restored, directory)
                    with beside(restored):
                        prove()
            with side_effect("swap databases"):
                database.take_the_place(server, side, name, retired)
        except BaseException:
            with suppress(psycopg.Error):  # the first error tells more; the next restore drops a leftover
                database.drop(server, side)
            raise
        with side_effect("drop replaced database"):
            database.drop(server, retired)


@contextmanager
def _alone(_: StoreUri) -> Iterator[None]:
    yield


def _copy_in(uri: StoreUri, directory: Path) -> None:
    entries = from_json((directory / TABLES).read_bytes(), tuple[TableFile, ...])
    with session(uri) as connection:
        run_script(connection, directory / SCHEMA)

    def copy(entry: TableFile) -> None:
        with session(uri) as connection:
            connection.execute("SET synchronous_commit = off")
            copy_table_in(connection, entry, directory)

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(copy, entries))
    with session(uri) as connection:
        connection.execute("SET maintenance_work_mem = '256MB'")
        run_script(connection, directory / SCHEMA_AFTER)


def run_script(connection: Connection, path: Path) -> None:
    """Run a file of statements of ours."""
    connection.execute("SET check_function_bodies = off")
    connection.execute(path.read_bytes())


def copy_table_in(connection: Connection, entry: TableFile, directory: Path) -> None:
    """Load one COPY file."""
    with (directory / entry.file).open("rb") as file:
        statement = sql.SQL("COPY {} FROM STDIN").format(copy_target(entry))
        with connection.cursor().copy(statement) as stream:
            while block := file.read(1 << 18):
                stream.write(block)


def _programs(snapshot: StoreSnapshot, directory: Path) -> tools.Tools:
    major = int(snapshot.engine_version.split(".")[0])
    found = tools.find_reader(directory, major)
    if found is None:
        raise StoreError(
            f"this snapshot needs pg_restore of PostgreSQL {major} or newer, and none that reads it was found",
            hint="Install PostgreSQL's client programs, or set LIFTLOCK_PG_BIN to their directory.",
        )
    return found


def _refuse_strangers(uri: StoreUri, known: Fingerprint) -> None:
    """Refuse to destroy what cannot be MLflow's: new schemas, and new tables of another owner than its tables have."""
    with session(uri) as connection:
        found = tables(connection)
    expected = {entry.table for entry in known.tables}
    own = [table for table in found if table.name in expected]
    schemas, owners = {table.schema for table in own} | {"public"}, {table.owner for table in own}
    strange = [
        table.name
        for table in found
        if table.name not in expected
        and not table.schema.startswith("liftlock")
        and (table.schema not in schemas or (owners and table.owner not in owners))
    ]
    if strange:
        raise Refused(
            f"the database {uri.database} has tables that are not MLflow's and would be lost: {', '.join(strange[:5])}",
            hint="Move them to another database first, or restore into a new one.",
        )
