"""Building the indexes of large tables at the same time, and while others read the tables.

pg_restore adds a primary key under a lock that keeps everybody out, so it builds one index of a table after the other.
A unique index takes a weaker lock, and a key made of it afterwards is the same key. Only statements of the plainest
form are taken over from the archive; all others, and all of smaller tables, are left to pg_restore.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_connect import session

_ENTRY = "\n-- TOC entry "
_KEY = re.compile(
    r"ALTER TABLE ONLY (?P<table>\S+)\s+ADD CONSTRAINT (?P<name>\S+) (?P<kind>PRIMARY KEY|UNIQUE) "
    r"\((?P<columns>[^();]+)\);"
)
_INDEX = re.compile(r"CREATE (?:UNIQUE )?INDEX \S+ ON (?P<table>\S+) USING [^;]+;")
_ELSEWHERE = re.compile(r"^SET default_table(?:space|_access_method) = (?!''|heap;)", re.MULTILINE)


@dataclass(frozen=True)
class Build:
    """One index of a large table: the archive's entry, the statement that builds it, and what makes a key of it."""

    entry: str
    statement: str
    key: str = ""


def read(programs: tools.Tools, archive: Path, tables: Collection[str]) -> tuple[Build, ...]:
    """The indexes of these tables (as they stand in the archive's SQL, the largest first) that can be built here."""
    script = tools.read(
        [programs.path("pg_restore"), "--section=post-data", "--verbose", "--file=-", archive], tools.environment({})
    ).decode()
    return parse(script, tables)


def parse(script: str, tables: Collection[str]) -> tuple[Build, ...]:
    """As `read`, from what pg_restore prints. None where something asks for another place or kind of table."""
    if _ELSEWHERE.search(script):
        return ()
    found: dict[str, list[Build]] = {table: [] for table in tables}
    for block in script.split(_ENTRY)[1:]:
        head, _, statement = block.partition("\n--\n\n")
        entry, statement = head.split(" ", 1)[0], statement.strip().removesuffix("--").strip()
        if (key := _KEY.fullmatch(statement)) and key["table"] in found:
            index = f"CREATE UNIQUE INDEX {key['name']} ON {key['table']} USING btree ({key['columns']});"
            made = (
                f"ALTER TABLE ONLY {key['table']} ADD CONSTRAINT {key['name']} {key['kind']} USING INDEX {key['name']};"
            )
            found[key["table"]].append(Build(entry, index, made))
        elif (index_of := _INDEX.fullmatch(statement)) and index_of["table"] in found:
            found[index_of["table"]].append(Build(entry, statement))
    return tuple(build for builds in found.values() for build in builds)


def build(
    uri: StoreUri, builds: Sequence[Build], settings: Mapping[str, str], *, jobs: int, beside: Callable[[], object]
) -> None:
    """Build them, `jobs` at a time, and call `beside` once while that goes on. Raises StoreError and what it raises."""

    def run(statement: str, **more: str) -> None:
        with session(uri) as connection:
            for name, value in {**settings, **more}.items():
                connection.execute(f"SET {name} = '{value}'".encode())
            connection.execute(statement.encode())

    with ThreadPoolExecutor(jobs) as pool:
        # The first one takes longest, most likely (a key of many columns); what is beside it waits for no lock.
        first, *others = [build.statement for build in builds]
        working: list[Future[Any]] = [pool.submit(run, first), pool.submit(beside)]
        # Beside a parallel one they are faster with a processor each.
        working += [pool.submit(run, statement, max_parallel_maintenance_workers="0") for statement in others]
        try:
            for done in working:
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for each in builds:
        if each.key:
            run(each.key)
