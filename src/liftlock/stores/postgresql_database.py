"""Whole databases of a PostgreSQL server: which exist, making one like another, swapping names, dropping.

All of it is done from a maintenance database (`postgres`, else `template1`), because a database cannot be renamed or
dropped from inside.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress

from psycopg import sql

from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.uri import StoreUri
from liftlock.stores.postgresql_connect import Connection, session

_NAME_LIMIT = 63  # bytes; PostgreSQL cuts longer names off silently
_MAINTENANCE = ("postgres", "template1")
# Their stored values are lists of names, already quoted; all others are one value (pg_dump knows the same list).
_LIST_SETTINGS = {
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
}


def beside(name: str, purpose: str) -> str:
    """The name of a database of ours that belongs to another: `mlflow_liftlock_restore`. Long names keep apart."""
    ending = f"_liftlock_{purpose}"
    whole = name + ending
    if len(whole.encode()) <= _NAME_LIMIT:
        return whole
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    room = _NAME_LIMIT - len(ending.encode()) - len(digest) - 1
    return f"{name.encode()[:room].decode(errors='ignore')}_{digest}{ending}"


@contextmanager
def maintenance(uri: StoreUri) -> Iterator[Connection]:
    """A session in a database of the same server that is not the URI's own. Raises StoreError when there is none."""
    with ExitStack() as stack:
        yield _first_that_lets_in(stack, uri)


def _first_that_lets_in(stack: ExitStack, uri: StoreUri) -> Connection:
    refused: StoreError | None = None
    for name in _MAINTENANCE:
        if name == uri.database:
            continue
        try:
            return stack.enter_context(session(uri, database=name))
        except StoreError as error:
            refused = error
    assert refused is not None
    raise refused


def exists(connection: Connection, name: str) -> bool:
    """Whether the server has a database of this name."""
    return connection.execute("SELECT FROM pg_catalog.pg_database WHERE datname = %s", (name,)).fetchone() is not None


def may_swap(connection: Connection, name: str) -> bool:
    """Whether the login may make databases and, where this one exists, rename and drop it."""
    row = connection.execute(
        """SELECT r.rolsuper OR (r.rolcreatedb AND COALESCE(
                    (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_catalog.pg_database d WHERE d.datname = %s), true))
             FROM pg_catalog.pg_roles r WHERE r.rolname = current_user""",
        (name,),
    ).fetchone()
    return row is not None and bool(row[0])


def create_like(connection: Connection, name: str, model: str | None) -> None:
    """Make an empty database with the owner, encoding, locale and tablespace of another (None: the server's own)."""
    words = [sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name))]
    found = connection.execute(
        """SELECT pg_get_userbyid(d.datdba), pg_encoding_to_char(d.encoding), t.spcname, to_jsonb(d)
             FROM pg_catalog.pg_database d
             LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace AND t.oid <> (
                 SELECT o.dattablespace FROM pg_catalog.pg_database o WHERE o.datname = 'template0')
            WHERE d.datname = %s""",
        (model,),
    ).fetchone()
    if found is not None:
        owner, encoding, tablespace, row = found
        words.append(
            sql.SQL("OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}").format(
                sql.Identifier(owner),
                sql.Literal(encoding),
                sql.Literal(row["datcollate"]),
                sql.Literal(row["datctype"]),
            )
        )
        if tablespace:  # naming the usual one takes a right that leaving it out does not
            words.append(sql.SQL("TABLESPACE {}").format(sql.Identifier(tablespace)))
        # Columns by release: daticulocale (15, 16), datlocale (17 on).
        locale = row.get("datlocale") or row.get("daticulocale")
        provider = {"i": "icu", "b": "builtin"}.get(row.get("datlocprovider", "c"))
        if provider and locale:
            words.append(
                sql.SQL("LOCALE_PROVIDER {} {} {}").format(
                    sql.SQL("icu" if provider == "icu" else "builtin"),
                    sql.SQL("ICU_LOCALE" if provider == "icu" else "BUILTIN_LOCALE"),
                    sql.Literal(locale),
                )
            )
    connection.execute(sql.SQL(" ").join(words))


def copy_properties(connection: Connection, source: str, target: str) -> None:
    """Give a database the grants, settings, connection limit and comment of another."""
    here = sql.Identifier(target)
    found = connection.execute(
        """SELECT d.oid, d.datdba, d.datacl IS NOT NULL, d.datconnlimit, shobj_description(d.oid, 'pg_database')
             FROM pg_catalog.pg_database d WHERE d.datname = %s""",
        (source,),
    ).fetchone()
    if found is None:
        return
    oid, owner, restricted, limit, comment = found
    if restricted:
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(here))
        for right, grantee, grantable in connection.execute(
            """SELECT g.privilege_type, CASE g.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(g.grantee) END,
                      g.is_grantable
                 FROM pg_catalog.pg_database d, aclexplode(d.datacl) g WHERE d.oid = %s AND g.grantee <> %s""",
            (oid, owner),
        ).fetchall():
            connection.execute(
                sql.SQL("GRANT {} ON DATABASE {} TO {}{}").format(
                    sql.SQL(right),
                    here,
                    sql.Identifier(grantee) if grantee else sql.SQL("PUBLIC"),
                    sql.SQL(" WITH GRANT OPTION" if grantable else ""),
                )
            )
    for role, setting in connection.execute(
        """SELECT CASE s.setrole WHEN 0 THEN NULL ELSE pg_get_userbyid(s.setrole) END, unnest(s.setconfig)
             FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = %s""",
        (oid,),
    ).fetchall():
        name, _, value = setting.partition("=")
        whose = sql.SQL("ROLE {} IN DATABASE {}").format(sql.Identifier(role), here) if role else None
        connection.execute(
            sql.SQL("ALTER {} SET {} TO {}").format(
                whose or sql.SQL("DATABASE {}").format(here),
                sql.Identifier(*name.split(".")),
                sql.SQL(value or "''") if name.lower() in _LIST_SETTINGS else sql.Literal(value),
            )
        )
    if limit >= 0:
        connection.execute(sql.SQL("ALTER DATABASE {} CONNECTION LIMIT {}").format(here, sql.Literal(limit)))
    if comment is not None:
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(here, sql.Literal(comment)))


def take_the_place(connection: Connection, newcomer: str, name: str, retired: str) -> None:
    """Rename `name` (where it exists) to `retired` and `newcomer` to `name`, both or neither."""
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    with connection.transaction():
        if exists(connection, name):
            connection.execute(rename.format(sql.Identifier(name), sql.Identifier(retired)))
        connection.execute(rename.format(sql.Identifier(newcomer), sql.Identifier(name)))


def drop_leftovers(connection: Connection, name: str) -> None:
    """Drop what a killed restore of a database left beside it."""
    for purpose in ("restore", "old"):
        leftover = beside(name, purpose)
        if exists(connection, leftover):
            with side_effect("drop leftover database"):
                drop(connection, leftover)


@contextmanager
def flushed_beside(uri: StoreUri) -> Iterator[None]:
    """Let the server write to disk what it holds while the block runs.

    Dropping a database makes it write everything first, and everybody waits for that; begun beside other work, little
    is left by then. Where the login may not ask for it (it takes pg_checkpoint), the drop takes as long as it takes.
    """
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_flush, uri)
        yield


def _flush(uri: StoreUri) -> None:
    with suppress(StoreError), session(uri) as connection:
        connection.execute("CHECKPOINT")


def drop(connection: Connection, name: str) -> None:
    """Drop a database of ours, ending whoever is connected to it; a missing one is no error."""
    force = sql.SQL(" WITH (FORCE)" if connection.info.server_version >= 130000 else "")
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}{}").format(sql.Identifier(name), force))
