"""Snapshots of a PostgreSQL database: everything from one exported snapshot, fingerprint included.

With a fitting pg_dump the directory holds its directory format (method `pg-dump-directory`, for pg_restore). Without,
it holds `schema.sql`, one COPY file per table, `schema-after.sql` and `tables.json` (method `copy-streams`).
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from psycopg import sql

from liftlock import files
from liftlock.effects import side_effect
from liftlock.errors import StoreCorrupt, StoreError
from liftlock.model.codec import Value, to_json
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.progress import Observer
from liftlock.model.snapshot import FileEntry
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_schema as schema
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.following import Following
from liftlock.stores.postgresql_catalog import LIFTLOCK, sequences, tables
from liftlock.stores.postgresql_connect import Connection, parameters, session, snapshot_transaction
from liftlock.stores.postgresql_fingerprint import SEQUENCES, fingerprint, hash_sequences
from liftlock.stores.sink import settle, sha256

PG_DUMP = "pg-dump-directory"
COPY_STREAMS = "copy-streams"
SCHEMA, SCHEMA_AFTER, TABLES = "schema.sql", "schema-after.sql", "tables.json"
JOBS = max(2, min(os.cpu_count() or 2, 8))
_CHUNK = 1 << 20
_CONTENTS = "toc.dat"  # of a directory dump: written anew in the end
_SPARE = (os.cpu_count() or 2) > 2  # a processor that pg_dump leaves to the fingerprint, most likely

Hashed = Mapping[str, tuple[int, str]]
"""A file's name -> bytes and SHA-256."""


class TableFile(Value, frozen=True):
    """One line of `tables.json`: which file holds which columns of which table, as COPY text."""

    file: str
    schema: str
    table: str
    columns: tuple[str, ...]


def dump(
    connection: Connection, uri: StoreUri, programs: tools.Tools, directory: Path, observer: Observer
) -> tuple[Fingerprint, Hashed]:
    """Let pg_dump write the state of the connection's transaction and hash the same state, and its files, meanwhile.

    `connection` is in a REPEATABLE READ transaction, which must stay open until this returns.
    """
    given = parameters(uri)
    words: list[str | Path] = [
        programs.path("pg_dump"), "--format=directory", f"--jobs={JOBS}", f"--compress={tools.compression(programs)}",
        f"--snapshot={export(connection)}", f"--file={directory}", "--no-password", f"--dbname={tools.target(given)}",
        f"--exclude-schema={LIFTLOCK}",
        "--no-sync",  # `inventory` does, while it hashes
    ]  # fmt: skip
    with (
        side_effect("dump database"),
        Following(directory, without={_CONTENTS}) as following,
        tools.Running(words, tools.environment(given)) as running,
    ):
        taken = fingerprint(connection, parallel=_SPARE, observer=observer)
        running.finish()
        hashed = following.finish()
    held = _sequences_in_dump(programs, directory)
    return _with_sequences(taken, held), hashed


def copy_out(connection: Connection, uri: StoreUri, directory: Path, observer: Observer) -> Fingerprint:
    """Write schema and rows of the connection's transaction without pg_dump, and hash the same state meanwhile."""
    exported = export(connection)
    found = tables(connection, sizes=True)
    numbered = list(enumerate(sorted(found, key=lambda table: -table.bytes), start=1))
    entries = [
        TableFile(
            file=f"{number:04d}.copy", schema=table.schema, table=table.relation,
            columns=tuple(column for column in table.columns if column not in table.generated),
        )
        for number, table in numbered
    ]  # fmt: skip
    with side_effect("copy database"), ThreadPoolExecutor(JOBS) as pool:
        copies = [pool.submit(_copy_table, uri, exported, entry, directory) for entry in entries]
        try:
            taken = fingerprint(connection, observer=observer)
            for copy in copies:
                copy.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    values = sequences(connection)
    setting = [
        sql.SQL("SELECT pg_catalog.setval({}, {}, {});\n").format(name, last, called).as_string(connection)
        for name, (last, called) in values.items()
    ]
    read = schema.read(connection)
    if read.unsupported:
        raise StoreError(
            f"this database holds what only pg_dump can copy: {read.unsupported[0]}",
            hint="Install PostgreSQL's client programs of the server's version or newer.",
        )
    for name, lines in ((SCHEMA, read.before), (SCHEMA_AFTER, read.after)):
        text = "".join(f"{line};\n" for line in lines)
        files.write_atomic(directory / name, text + ("".join(setting) if name == SCHEMA_AFTER else ""))
    files.write_atomic(directory / TABLES, to_json(tuple(entries), indent=1))
    return _with_sequences(taken, values)


def inventory(directory: Path, hashed: Hashed) -> tuple[FileEntry, ...]:
    """Size and SHA-256 of every file, made private and flushed to disk; what is in `hashed` was flushed before."""

    def entry(path: Path) -> FileEntry:
        path.chmod(files.PRIVATE_FILE)
        name, size = str(path.relative_to(directory)), path.stat().st_size
        before, digest = hashed.get(name, (-1, ""))
        return FileEntry(path=name, bytes=size, sha256=digest if size == before else settle(path))

    # The largest first: it takes longest, and everything else is done beside it.
    found = sorted((path for path in directory.rglob("*") if path.is_file()), key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(JOBS) as pool:
        entries = sorted(pool.map(entry, found), key=lambda entry: entry.path)
    files.sync_directory(directory)
    return tuple(entries)


def check_files(directory: Path, entries: tuple[FileEntry, ...]) -> None:
    """Raise StoreCorrupt unless every file is there, whole and unchanged."""

    def problem(entry: FileEntry) -> str | None:
        path = directory / entry.path
        if not path.is_file():
            return "is missing"
        if path.stat().st_size != entry.bytes:
            return f"has {path.stat().st_size} bytes instead of {entry.bytes}"
        return None if sha256(path) == entry.sha256 else "was changed after it was written"

    with ThreadPoolExecutor(JOBS) as pool:
        for entry, found in zip(entries, pool.map(problem, entries), strict=True):
            if found:
                raise StoreCorrupt(
                    f"the snapshot is damaged: {entry.path} {found}",
                    hint="The database was not touched. Use another backup.",
                )


def export(connection: Connection) -> str:
    """Make the connection's view of the data available to others, for as long as its transaction lives."""
    row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
    assert row is not None
    return str(row[0])


def _copy_table(uri: StoreUri, exported: str, entry: TableFile, directory: Path) -> None:
    statement = sql.SQL("COPY {} TO STDOUT").format(copy_target(entry))
    path = directory / entry.file
    path.touch(mode=files.PRIVATE_FILE)
    with (
        session(uri) as connection,
        snapshot_transaction(connection, exported),
        connection.cursor().copy(statement) as stream,
        path.open("wb") as file,
    ):
        for block in gathered(stream):
            file.write(block)


def copy_target(entry: TableFile) -> sql.Composed:
    """`schema.table (columns)`, as COPY takes it."""
    return sql.SQL("{} ({})").format(
        sql.Identifier(entry.schema, entry.table), sql.SQL(", ").join(map(sql.Identifier, entry.columns))
    )


def gathered(stream: Iterable[bytes | bytearray | memoryview]) -> Iterator[bytes]:
    """COPY gives one row at a time; files are written in larger pieces."""
    parts: list[bytes] = []
    size = 0
    for row in stream:
        parts.append(bytes(row))
        size += len(row)
        if size >= _CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


_SETVAL = re.compile(r"setval\('((?:[^']|'')+)', (-?\d+), (true|false)\)")


def _sequences_in_dump(programs: tools.Tools, directory: Path) -> dict[str, tuple[int, bool]]:
    """The values that the dump will set: sequences know no snapshot, so they may differ from any other moment's."""
    program, env = programs.path("pg_restore"), tools.environment({})
    listed = tools.read([program, "--list", directory], env).decode().splitlines()
    chosen = [line for line in listed if " SEQUENCE SET " in line]
    if not chosen:
        return {}
    with _temporary_text("\n".join(chosen) + "\n") as path:
        script = tools.read([program, f"--use-list={path}", "--file=-", directory], env).decode()
    return {name.replace("''", "'"): (int(last), called == "true") for name, last, called in _SETVAL.findall(script)}


@contextmanager
def _temporary_text(text: str) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", prefix="liftlock-", suffix=".list") as file:
        file.write(text)
        file.flush()
        yield Path(file.name)


def _with_sequences(taken: Fingerprint, values: dict[str, tuple[int, bool]]) -> Fingerprint:
    rest = (entry for entry in taken.tables if entry.table != SEQUENCES)
    entries = sorted((*rest, hash_sequences(values)), key=lambda entry: entry.table)
    return Fingerprint(algorithm=taken.algorithm, tables=tuple(entries), seconds=taken.seconds)
