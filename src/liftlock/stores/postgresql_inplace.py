"""Restoring inside the database, in one transaction, for logins that may not make databases."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from psycopg import sql

from liftlock import proc
from liftlock.effects import side_effect
from liftlock.model.codec import from_json
from liftlock.model.fingerprint import MODULUS, Fingerprint, TableFingerprint
from liftlock.model.secret import redact
from liftlock.model.uri import StoreUri
from liftlock.stores import postgresql_tools as tools
from liftlock.stores.postgresql_connect import Connection, parameters, session
from liftlock.stores.postgresql_dump import SCHEMA, SCHEMA_AFTER, TABLES, TableFile, copy_target
from liftlock.stores.postgresql_fingerprint import SEQUENCES, table_query

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


def load_in_place(uri: StoreUri, programs: tools.Tools, expected: Fingerprint, directory: Path) -> None:
    """Feed psql one transaction: remove everything, pg_restore's script, compare, commit.

    COMMIT is sent only after pg_restore ended well; a death of ours before that ends psql's input, and the server
    rolls back. Raises StoreError; the database then is as it was.
    """
    given = parameters(uri)
    env = tools.environment(given)
    psql: list[str | Path] = [
        programs.path("psql"), "--no-psqlrc", "--quiet", "--no-password", "--set=ON_ERROR_STOP=1",
        f"--dbname={tools.target(given)}",
    ]  # fmt: skip
    script: list[str | Path] = [programs.path("pg_restore"), "--file=-", directory]
    with side_effect("restore in place"), tempfile.TemporaryFile() as complaints, tempfile.TemporaryFile() as doubts:
        reader = proc.spawn(
            psql, env=env, cwd=None, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints
        )
        source = proc.spawn(script, env=env, cwd=None, stdout=subprocess.PIPE, stderr=doubts)
        assert reader.stdin is not None
        assert source.stdout is not None
        sound = False
        try:
            reader.stdin.write(b"BEGIN;\n" + _WIPE.encode())
            while block := source.stdout.read(_CHUNK):
                reader.stdin.write(block)
            sound = source.wait() == 0
            if sound:
                reader.stdin.write(_comparison(expected).encode() + b"COMMIT;\n")
        except BrokenPipeError:
            pass  # psql ended early; what it said is read below
        except BaseException:
            proc.kill_group(reader.pid)
            raise
        finally:
            proc.kill_group(source.pid)
            source.communicate()
            reader.communicate()
        if reader.returncode != 0:
            raise tools.failure("psql", _said(complaints))
        if not sound:
            raise tools.failure("pg_restore", _said(doubts))


def copy_in_place(
    uri: StoreUri, expected: Fingerprint, directory: Path, compare: Callable[[Fingerprint, Connection], None]
) -> None:
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


def _comparison(expected: Fingerprint) -> str:
    """SQL that fails unless the tables hold exactly the expected data. (Sequences were set by the dump itself.)"""
    # RESET: pg_restore's script has emptied the search path, by which bare names are meant.
    settings = (
        "RESET search_path; SET LOCAL extra_float_digits = 3; SET LOCAL TimeZone = 'UTC';"
        " SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; SET LOCAL bytea_output = 'hex';"
    )
    checks = "".join(_check(entry) for entry in expected.tables if entry.table != SEQUENCES)
    return f"{settings}\nDO $compare$\nDECLARE found record;\nBEGIN\n{checks}END $compare$;\n"


def _check(entry: TableFingerprint) -> str:
    schema, _, relation = entry.table.rpartition(".")
    query = table_query(sql.Identifier(*filter(None, (schema, relation))), entry.columns).as_string()
    sums = " OR ".join(
        f"mod(mod(found.{name}, {MODULUS}) + {MODULUS}, {MODULUS}) <> {int(value)}"
        for name, value in (("one", entry.sum1), ("two", entry.sum2))
    )
    message = sql.Literal(f"the restored data is not the snapshot's: {entry.table}".replace("%", "%%")).as_string()
    return (
        f"  SELECT * INTO found FROM ({query}) AS q(rows, one, two);\n"
        f"  IF found.rows <> {entry.rows} OR {sums} THEN RAISE EXCEPTION {message}; END IF;\n"
    )


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            yield block


def _said(file: IO[bytes]) -> str:
    file.seek(0)
    return redact(file.read().decode("utf-8", "replace"))
