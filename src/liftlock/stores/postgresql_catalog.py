"""What the catalogue of a PostgreSQL database says: tables, columns, sequences, rights, sessions."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from liftlock.model.deployment import Writer
from liftlock.stores.postgresql_connect import APPLICATION, Connection

LIFTLOCK = "liftlock"
"""Where everything is that an online upgrade puts into a database; nothing else of this program sees it."""

# Everything that is not the server's own, not liftlock's and does not belong to an extension.
OURS = f"""
  n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{LIFTLOCK}')
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                   WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e')
"""


@dataclass(frozen=True)
class Table:
    """One ordinary table. `name` is bare where the search path finds it, else `schema.name`.

    `estimate` is the server's guess of its rows, -1 when it never counted; `columns` are in the table's order,
    those the server computes itself in `generated` too. `kinds` maps a column to its type's name (of a domain: the type
    below) and to whether it may be NULL.
    """

    name: str
    schema: str
    relation: str
    owner: str
    estimate: int
    bytes: int
    columns: tuple[str, ...]
    generated: tuple[str, ...]
    kinds: dict[str, tuple[str, bool]]

    @property
    def identifier(self) -> sql.Identifier:
        """The table as it stands in SQL."""
        return sql.Identifier(self.schema, self.relation)


def tables(connection: Connection, *, sizes: bool = False) -> tuple[Table, ...]:
    """All ordinary tables (leaf partitions too), in name order."""
    size = "pg_catalog.pg_total_relation_size(c.oid)" if sizes else "0"
    found = connection.execute(
        f"""SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname,
                   n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner), c.reltuples::bigint, {size},
                   array_remove(array_agg(a.attname::text ORDER BY a.attnum), NULL),
                   array_remove(array_agg(CASE WHEN a.attgenerated <> '' THEN a.attname::text END), NULL),
                   array_remove(array_agg(COALESCE(b.typname, t.typname)::text ORDER BY a.attnum), NULL),
                   array_remove(array_agg(NOT a.attnotnull ORDER BY a.attnum), NULL)
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
              LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
             WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {OURS}
             GROUP BY c.oid, n.nspname, c.relname, c.relowner, c.reltuples"""
    ).fetchall()
    made = (
        Table(
            name=name, schema=schema, relation=relation, owner=owner, estimate=estimate, bytes=total,
            columns=tuple(columns), generated=tuple(generated),
            kinds=dict(zip(columns, zip(types, nullable, strict=True), strict=True)),
        )
        for name, schema, relation, owner, estimate, total, columns, generated, types, nullable in found
    )  # fmt: skip
    return tuple(sorted(made, key=lambda table: table.name))


def sequences(connection: Connection) -> dict[str, tuple[int, bool]]:
    """Sequence (`schema.name`, quoted as SQL needs) -> its last value and whether that was given out.

    Sequences are not part of a transaction's view: these are the values of this very moment.
    """
    names = connection.execute(
        f"""SELECT n.nspname, c.relname, pg_catalog.format('%I.%I', n.nspname, c.relname)
              FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND {OURS} ORDER BY 3"""
    ).fetchall()
    values: dict[str, tuple[int, bool]] = {}
    for schema, name, shown in names:
        row = connection.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name))
        ).fetchone()
        assert row is not None
        values[shown] = (int(row[0]), bool(row[1]))
    return values


def versions(connection: Connection, found: tuple[Table, ...]) -> dict[str, tuple[str, ...]]:
    """Every `alembic_version*` table with its rows, in name order."""
    rows: dict[str, tuple[str, ...]] = {}
    for table in found:
        if table.relation.startswith("alembic_version") and "version_num" in table.columns:
            query = sql.SQL("SELECT version_num FROM {} ORDER BY 1").format(table.identifier)
            rows[table.name] = tuple(str(row[0]) for row in connection.execute(query))
    return rows


def count(connection: Connection, table: Table) -> int:
    """The exact number of rows."""
    row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(table.identifier)).fetchone()
    assert row is not None
    return int(row[0])


def rights(connection: Connection, found: tuple[Table, ...]) -> dict[str, bool]:
    """The abilities of the login that an upgrade depends on."""
    row = connection.execute(
        """SELECT r.rolsuper, r.rolsuper OR r.rolcreatedb, r.rolsuper OR pg_has_role(d.datdba, 'USAGE'),
                  COALESCE(has_schema_privilege(current_schema(), 'CREATE'), false),
                  r.rolsuper OR pg_has_role('pg_signal_backend', 'USAGE')
             FROM pg_catalog.pg_roles r, pg_catalog.pg_database d
            WHERE r.rolname = current_user AND d.datname = current_database()"""
    ).fetchone()
    assert row is not None
    names = ("superuser", "create database", "own database", "create table", "terminate sessions")
    abilities = dict(zip(names, map(bool, row), strict=True))
    granted = connection.execute(
        """SELECT bool_and(has_table_privilege(c.oid, 'SELECT')),
                  bool_and(has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
                           AND has_table_privilege(c.oid, 'DELETE'))
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind = 'r' AND (n.nspname, c.relname) IN (SELECT * FROM unnest(%s::text[], %s::text[]))""",
        ([table.schema for table in found], [table.relation for table in found]),
    ).fetchone()
    assert granted is not None
    read_only = connection.execute("SHOW default_transaction_read_only").fetchone()
    recovering = connection.execute("SELECT pg_is_in_recovery()").fetchone()
    writable = read_only == ("off",) and recovering == (False,)
    abilities["read"] = granted[0] is not False
    abilities["write"] = writable and (granted[1] is True or (granted[1] is None and abilities["create table"]))
    return abilities


def writers(connection: Connection, ignore_pids: frozenset[int] = frozenset()) -> tuple[Writer, ...]:
    """Others connected to this database, and prepared transactions in it. `ignore_pids` are the server's session ids.

    Sessions of other users hide their kind and state from a login without `pg_read_all_stats`; they still count.
    """
    found = connection.execute(
        """SELECT pid, COALESCE(usename, '?'), COALESCE(application_name, ''), COALESCE(host(client_addr), 'local'),
                  COALESCE(state, 'state not visible')
             FROM pg_catalog.pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
              AND COALESCE(backend_type, 'client backend') IN ('client backend', 'walsender')
              AND COALESCE(application_name, '') !~ %s ORDER BY pid""",
        (f"^{APPLICATION}",),
    ).fetchall()
    live = tuple(
        Writer(pid=pid, description=f"{user} from {client}{f' ({application})' if application else ''}, {state}")
        for pid, user, application, client, state in found
        if pid not in ignore_pids
    )
    prepared = connection.execute(
        "SELECT gid, owner FROM pg_catalog.pg_prepared_xacts WHERE database = current_database() ORDER BY gid"
    ).fetchall()
    return live + tuple(Writer(pid=None, description=f"{owner}: prepared transaction {gid}") for gid, owner in prepared)
