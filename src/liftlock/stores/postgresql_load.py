"""Loading a pg_dump directory into an empty database with all processors.

pg_restore loads one table over one connection, and MLflow's metrics are most of a database. Where pg_dump left rows
uncompressed, large files are cut at row ends and loaded over several connections; everything else is pg_restore's.
What was loaded is compared with the snapshot's fingerprint afterwards, so a mistake here cannot go unseen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from psycopg import sql

from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_indexes as indexes
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_catalog import Table, tables
from liftlock.stores.postgresql_connect import Connection, parameters, session
from liftlock.stores.postgresql_inplace import run_archive

_LARGE = 8 << 20  # bytes of rows from which cutting pays
_BLOCK = 1 << 18
_SETS_TRANSACTION_TIMEOUT = 17  # the first major version whose pg_restore does
_END = b"\\.\n"
# A load that is lost in a crash is repeated, so nothing of it needs to wait for the disk; the swap does.
_SETTINGS = {"synchronous_commit": "off"}
_ENTRY = re.compile(r"^(?P<id>\d+); \d+ \d+ TABLE DATA (?P<what>.*)$")


class Prove(Protocol):
    """Compares what was loaded with what was saved; with `parallel` on several processors."""

    def __call__(self, *, parallel: bool = True) -> None:
        """Raises StoreError where they differ."""
        ...


def load(
    uri: StoreUri,
    programs: tools.Tools,
    directory: Path,
    *,
    jobs: int,
    beside: Callable[[StoreUri], AbstractContextManager[None]],
    prove: Prove,
) -> None:
    """Run the whole archive into the empty database that `uri` names. Raises StoreError, and what `prove` raises.

    Once all rows are there `prove` is called, and `beside(uri)` entered: while indexes are built, where that can be.
    """
    with session(uri) as connection:
        if _is_too_old(connection.info.server_version // 10000, programs.major):
            connection.execute("SET synchronous_commit = off")
            run_archive(connection, programs, directory)
            with beside(uri):
                prove()
        else:
            _load(connection, uri, programs, directory, jobs=jobs, beside=beside, prove=prove)


def _load(
    connection: Connection,
    uri: StoreUri,
    programs: tools.Tools,
    directory: Path,
    *,
    jobs: int,
    beside: Callable[[StoreUri], AbstractContextManager[None]],
    prove: Prove,
) -> None:
    given = parameters(uri)
    env = tools.environment(given, options=" ".join(f"-c {name}={value}" for name, value in _SETTINGS.items()))
    program = programs.path("pg_restore")
    words: list[str | Path] = [
        program, "--exit-on-error", "--no-password", f"--dbname={tools.target(given, options=False)}", f"--jobs={jobs}",
    ]  # fmt: skip
    listing = tools.listing(programs, directory)
    large = _large(listing, directory)
    with tools.entries(listing) as every:
        if not large:
            tools.read([*words, f"--use-list={every}", directory], env)
            with beside(uri):
                prove()
            return
        tools.read([*words, f"--use-list={every}", "--section=pre-data", directory], env)
    cut = _match(large, tables(connection))
    with tools.entries(listing, without=cut) as others:
        _load_rows(uri, directory, cut, [*words, "--section=data", f"--use-list={others}", directory], env, jobs)
    builds = indexes.read(programs, directory, _as_dumped(connection, cut.values()))
    if builds:
        with beside(uri):
            indexes.build(uri, builds, _SETTINGS, jobs=jobs, beside=partial(prove, parallel=False))
    with beside(uri), tools.entries(listing, without={build.entry for build in builds}) as rest:
        tools.read([*words, "--section=post-data", f"--use-list={rest}", directory], env)
        if not builds:
            prove()


def _as_dumped(connection: Connection, found: Collection[Table]) -> tuple[str, ...]:
    """How these tables are written in an archive's SQL."""
    rows = connection.execute(
        "SELECT pg_catalog.format('%%I.%%I', s, r) FROM unnest(%s::text[], %s::text[]) AS u(s, r)",
        ([table.schema for table in found], [table.relation for table in found]),
    ).fetchall()
    return tuple(row[0] for row in rows)


def _load_rows(
    uri: StoreUri, directory: Path, cut: Mapping[str, Table], rest: list[str | Path], env: dict[str, str], jobs: int
) -> None:
    """The tables that are cut, and what `rest` loads meanwhile."""
    with tools.Running(rest, env) as others, ThreadPoolExecutor(jobs) as pool:
        parts = [
            pool.submit(_copy, uri, table, directory / f"{number}.dat", start, end)
            for number, table in cut.items()
            for start, end in _cuts(directory / f"{number}.dat", jobs)
        ]
        for part in parts:
            part.result()
        others.finish()


def _is_too_old(server: int, program: int) -> bool:
    """Whether pg_restore, run directly, would stop at a setting that the server does not know."""
    return program >= _SETS_TRANSACTION_TIMEOUT > server


def _large(listing: str, directory: Path) -> dict[str, str]:
    """Number -> `schema table owner` of each entry whose rows lie in a large uncompressed file, the largest first."""
    found: dict[str, tuple[int, str]] = {}
    for line in listing.splitlines():
        entry = _ENTRY.match(line)
        file = directory / f"{entry['id']}.dat" if entry else None
        if entry and file and file.exists() and file.stat().st_size >= _LARGE:
            found[entry["id"]] = (file.stat().st_size, entry["what"])
    return {number: what for number, (_, what) in sorted(found.items(), key=lambda item: -item[1][0])}


def _match(large: Mapping[str, str], found: tuple[Table, ...]) -> dict[str, Table]:
    """Number -> table; an entry whose name fits no table, or two, is left to pg_restore."""
    names: dict[str, list[Table]] = {}
    for table in found:
        names.setdefault(f"{table.schema} {table.relation} {table.owner}", []).append(table)
    return {number: names[what][0] for number, what in large.items() if len(names.get(what, [])) == 1}


def _cuts(path: Path, parts: int) -> list[tuple[int, int]]:
    """Where to cut a file of COPY rows: (start, end) in bytes, at row ends, without the line that ends the data."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 64))
        tail = file.read()
        end = size - (len(tail) - tail.rindex(_END))
        places = [0]
        for number in range(1, parts):
            file.seek(end * number // parts)
            file.readline()  # a newline inside a value is written as \n, so this is a row's end
            places.append(min(file.tell(), end))
    return [pair for pair in pairwise([*places, end]) if pair[0] < pair[1]]


def _copy(uri: StoreUri, table: Table, path: Path, start: int, end: int) -> None:
    columns = [column for column in table.columns if column not in table.generated]
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        table.identifier, sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with session(uri) as connection:
        connection.execute("SET synchronous_commit = off")
        with connection.cursor().copy(statement) as stream:
            for block in _blocks(path, start, end):
                stream.write(block)


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        while start < end:
            block = file.read(min(_BLOCK, end - start))
            if not block:
                return
            start += len(block)
            yield block
