"""Restoring inside the database, in one transaction, for logins that may not make databases."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from psycopg import sql

from liftlock.effects import side_effect
from liftlock.model.codec import from_json
from liftlock.model.fingerprint import Fingerprint
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_connect import Connection, session
from liftlock.stores.postgresql_dump import SCHEMA, SCHEMA_AFTER, TABLES, TableFile, copy_target

_CHUNK = 1 << 20
# Removes all that is not the server's or an extension's. Dropping one thing may take others with it, hence the
# second look before each. A thing that the login does not own ends the transaction.
_WIPE = """
DO $wipe$
DECLARE item record; statement text;
BEGIN
  SET LOCAL client_min_messages = error;
  FOR item IN
    SELECT c.oid, format('DROP %s %s CASCADE', CASE c.relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW'
           WHEN 'S' THEN 'SEQUENCE' WHEN 'f' THEN 'FOREIGN TABLE' ELSE 'TABLE' END, c.oid::regclass) AS statement
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
          AND d.deptype = 'e')
  LOOP
    IF EXISTS (SELECT FROM pg_class WHERE oid = item.oid) THEN EXECUTE item.statement; END IF;
  END LOOP;
  FOR item IN
    SELECT p.oid, format('DROP ROUTINE %s CASCADE', p.oid::regprocedure) AS statement
      FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid
          AND d.deptype = 'e')
  LOOP
    IF EXISTS (SELECT FROM pg_proc WHERE oid = item.oid) THEN EXECUTE item.statement; END IF;
  END LOOP;
  FOR item IN
    SELECT t.oid, format('DROP TYPE %s CASCADE', t.oid::regtype) AS statement
      FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
     WHERE (t.typtype IN ('e', 'd', 'r') OR (t.typtype = 'c' AND c.relkind = 'c'))
       AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid
          AND d.deptype = 'e')
  LOOP
    IF EXISTS (SELECT FROM pg_type WHERE oid = item.oid) THEN EXECUTE item.statement; END IF;
  END LOOP;
  FOR statement IN
    SELECT format('DROP SCHEMA %I CASCADE', n.nspname) FROM pg_namespace n
     WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'public')
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid
          AND d.deptype = 'e')
       AND NOT EXISTS (SELECT FROM pg_extension e WHERE e.extnamespace = n.oid)
  LOOP
    EXECUTE statement;
  END LOOP;
END $wipe$;
"""


Compare = Callable[[Fingerprint, Connection], None]
# Lines for psql alone (by which it refuses commands of its own inside a dump), and a setting that pg_restore 17 and
# newer always write and older servers do not know.
_NOT_FOR_SERVERS = re.compile(rb"^(?:\\(?:un)?restrict [A-Za-z0-9]+|SET transaction_timeout = 0;)$", re.MULTILINE)


def load_in_place(
    uri: StoreUri, programs: tools.Tools, expected: Fingerprint, directory: Path, compare: Compare
) -> None:
    """In one transaction: remove everything, run pg_restore's script, compare, commit.

    Raises StoreError; the database then is as it was.
    """

    with side_effect("restore in place"), session(uri) as connection, connection.transaction():
        connection.execute(_WIPE)
        run_archive(connection, programs, directory)
        connection.execute("RESET search_path")  # which the script has emptied
        compare(expected, connection)


def run_archive(connection: Connection, programs: tools.Tools, archive: Path) -> None:
    """Run pg_restore's script over a connection of ours. Raises StoreError, psycopg.Error."""
    for section in ("pre-data", "data", "post-data"):
        run_section(connection, programs, archive, section)


def run_section(connection: Connection, programs: tools.Tools, archive: Path, section: str) -> None:
    """Run one section of it: what stands before the data, the data, or what stands after."""
    with tools.entries(tools.listing(programs, archive)) as chosen:
        words: list[str | Path] = [
            programs.path("pg_restore"), f"--section={section}", "--file=-", f"--use-list={chosen}", archive,
        ]  # fmt: skip
        with tools.Running(words, tools.environment({}), read=True) as running:
            if section == "data":
                _run_data(connection, running.output)
            else:
                connection.execute(_NOT_FOR_SERVERS.sub(b"", running.output.read()))
            running.finish()


def _run_data(connection: Connection, script: IO[bytes]) -> None:
    """Run a script that holds COPY statements with their rows, and between them settings and setval."""
    lines: list[bytes] = []
    for line in script:
        if line.startswith(b"COPY ") and line.endswith(b" FROM stdin;\n"):
            connection.execute(_NOT_FOR_SERVERS.sub(b"", b"".join(lines)))
            lines = []
            with connection.cursor().copy(line.rstrip(b";\n")) as stream:
                for row in _until_end(script):
                    stream.write(row)
        else:
            lines.append(line)
    connection.execute(_NOT_FOR_SERVERS.sub(b"", b"".join(lines)))


def _until_end(script: IO[bytes]) -> Iterator[bytes]:
    """Rows of one COPY in larger pieces, up to the line that ends them."""
    parts: list[bytes] = []
    size = 0
    for line in script:
        if line == b"\\.\n":
            break
        parts.append(line)
        size += len(line)
        if size >= _CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def copy_in_place(uri: StoreUri, expected: Fingerprint, directory: Path, compare: Compare) -> None:
    """The same from COPY files, over one connection. Raises StoreError; the database then is as it was."""
    entries = from_json((directory / TABLES).read_bytes(), tuple[TableFile, ...])
    with side_effect("restore in place"), session(uri) as connection, connection.transaction():
        connection.execute("SET LOCAL check_function_bodies = off")
        connection.execute(_WIPE)
        connection.execute((directory / SCHEMA).read_bytes())
        for entry in entries:
            statement = sql.SQL("COPY {} FROM STDIN").format(copy_target(entry))
            with connection.cursor().copy(statement) as stream:
                for block in _blocks(directory / entry.file):
                    stream.write(block)
        connection.execute((directory / SCHEMA_AFTER).read_bytes())
        compare(expected, connection)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            yield block
