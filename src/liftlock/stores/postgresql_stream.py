"""Copying a database into a new one on the same server while people write to it, without files between.

The schema comes from pg_dump (without one, from the catalogue), rows by COPY from one exported snapshot, several tables
at a time, the largest first; keys and indexes are built afterwards. Nothing of liftlock's is copied.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock

from psycopg import sql

from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, Progress
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_database as database
from liftlock.stores import postgresql_schema as schema
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_catalog import LIFTLOCK, Table, sequences, tables
from liftlock.stores.postgresql_connect import Connection, parameters, session, snapshot_transaction
from liftlock.stores.postgresql_dump import JOBS, export, gathered
from liftlock.stores.postgresql_inplace import run_section

# A copy that is lost in a crash is made anew; only its last statement waits for the disk, for all before it too.
_SETTINGS = "SET synchronous_commit = off; SET maintenance_work_mem = '256MB'; SET check_function_bodies = off"
_Step = Callable[[StoreUri], None]


def copy_database(source: StoreUri, target: StoreUri, observer: Observer) -> None:
    """Make the database `target` a copy of `source` as it is now. Raises StoreError; a half copy is left to `drop`."""
    with session(source) as connection, snapshot_transaction(connection):
        exported = export(connection)
        found = sorted(tables(connection, sizes=True), key=lambda table: -table.bytes)
        with database.maintenance(source) as server:
            if database.exists(server, target.database):
                raise StoreError(f"the database {target.database} exists already", hint="Drop it first.")
            with side_effect("create copy"):
                database.create_like(server, target.database, source.database)
                database.copy_properties(server, source.database, target.database)
        with _schema_of(connection, source, exported) as (before, after), side_effect("fill copy"):
            before(target)
            _copy_rows(source, target, exported, found, observer)
            observer(Progress(work="build indexes"))
            after(target)
            _set_sequences(connection, target)
    with side_effect("analyze copy"), session(target) as connection:
        connection.execute("ANALYZE")


@contextmanager
def _schema_of(connection: Connection, source: StoreUri, exported: str) -> Iterator[tuple[_Step, _Step]]:
    """Two calls that make, in the database of a URI, what stands before the rows and what after them."""
    programs = tools.find_tools(connection.info.server_version // 10000)
    if programs is None:
        read = schema.read(connection)
        if read.unsupported:
            raise StoreError(
                f"this database holds what only pg_dump can copy: {read.unsupported[0]}",
                hint="Install PostgreSQL's client programs of the server's version or newer.",
            )
        yield partial(_run_lines, read.before), partial(_run_lines, read.after)
        return
    with tempfile.TemporaryDirectory(prefix="liftlock-") as place:
        archive = Path(place) / "schema"
        given = parameters(source)
        tools.read(
            [
                programs.path("pg_dump"), "--format=custom", "--schema-only", f"--snapshot={exported}",
                f"--exclude-schema={LIFTLOCK}", f"--file={archive}", "--no-password", f"--dbname={tools.target(given)}",
            ],
            tools.environment(given),
        )  # fmt: skip
        yield (
            partial(_run_section, programs, archive, "pre-data"),
            partial(_run_section, programs, archive, "post-data"),
        )


def _run_lines(lines: tuple[str, ...], target: StoreUri) -> None:
    with session(target) as connection:
        connection.execute(_SETTINGS.encode())
        connection.execute("".join(f"{line};\n" for line in lines).encode())


def _run_section(programs: tools.Tools, archive: Path, section: str, target: StoreUri) -> None:
    with session(target) as connection:
        connection.execute(_SETTINGS.encode())
        run_section(connection, programs, archive, section)


def _copy_rows(source: StoreUri, target: StoreUri, exported: str, found: list[Table], observer: Observer) -> None:
    total = sum(table.bytes for table in found)
    done = 0
    waiting: SimpleQueue[Table] = SimpleQueue()
    for table in found:
        waiting.put(table)
    lock = Lock()

    def work() -> None:
        nonlocal done
        with session(source) as reading, session(target) as writing, snapshot_transaction(reading, exported):
            writing.execute(_SETTINGS.encode())
            with suppress(Empty):
                while True:
                    table = waiting.get_nowait()
                    _copy_table(reading, writing, table)
                    with lock:
                        done += table.bytes
                        observer(Progress(work="copy", done=done, total=total, unit="bytes"))

    with ThreadPoolExecutor(JOBS) as pool:
        for worker in [pool.submit(work) for _ in range(JOBS)]:
            worker.result()


def _copy_table(reading: Connection, writing: Connection, table: Table) -> None:
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in table.columns if column not in table.generated)
    what = sql.SQL("{} ({})").format(table.identifier, columns)
    with (
        reading.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(what)) as rows,
        writing.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(what)) as copied,
    ):
        for block in gathered(rows):
            copied.write(block)


def _set_sequences(connection: Connection, target: StoreUri) -> None:
    with session(target) as other:
        for name, (last, called) in sequences(connection).items():
            other.execute("SELECT pg_catalog.setval(%s::regclass, %s, %s)", (name, last, called))
