"""The tables of a PostgreSQL database as an online upgrade sees them, and which of our triggers stand on them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg import sql

from liftlock.stores.live import Shape
from liftlock.stores.postgresql_catalog import LIFTLOCK, OURS
from liftlock.stores.postgresql_connect import Connection

_CONSTANT = re.compile(
    r"""\(?-?[0-9][0-9.]*\)? | '(?:[^']|'')*' | true | false | NULL""", re.VERBOSE
)  # before any casts
_CAST = re.compile(r'::[a-zA-Z_"][\w ".]*(?:\(\d+(?:,\d+)?\))?(?:\[\])*$')


@dataclass(frozen=True)
class Relation:
    """One table. `types` are without lengths, so that a cast to one never cuts a value; `triggers` are those of ours
    that act, `marked` whether there is any, switched off or not; `signature` changes with anything that matters to
    rows and keys.
    """

    name: str
    oid: int
    schema: str
    relation: str
    columns: tuple[str, ...]
    types: Mapping[str, str]
    defaults: Mapping[str, str | None]
    key: tuple[str, ...]
    references: tuple[tuple[tuple[str, ...], str, tuple[str, ...]], ...]
    triggers: frozenset[str]
    marked: bool
    signature: str

    @property
    def identifier(self) -> sql.Identifier:
        """The table as it stands in SQL."""
        return sql.Identifier(self.schema, self.relation)

    @property
    def log(self) -> sql.Identifier:
        """The table of ours that holds the keys logged for this one."""
        return sql.Identifier(LIFTLOCK, f"log_{self.oid}")

    @property
    def is_alembic(self) -> bool:
        """Whether this is one of Alembic's version tables, which no row is ever copied to or from."""
        return self.relation.startswith("alembic_version")


Relations = Mapping[str, Relation]

_COLUMNS = f"""
SELECT c.oid, CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN '' ELSE n.nspname || '.' END || c.relname,
       n.nspname, c.relname,
       (SELECT array_agg(t.tgname || ':' || t.tgenabled::text)
          FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
          WHERE t.tgrelid = c.oid AND p.pronamespace = pg_catalog.to_regnamespace('{LIFTLOCK}')),
       array_agg(ARRAY[a.attname::text, pg_catalog.format_type(a.atttypid, -1),
                       pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull::text, a.attgenerated::text,
                       COALESCE(pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                         CASE WHEN a.attidentity <> '' THEN 'identity' END)] ORDER BY a.attnum)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
 WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND {OURS}
 GROUP BY c.oid, n.nspname, c.relname ORDER BY 2
"""
_KEYS = """
SELECT k.conrelid, k.contype::text, k.confrelid,
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(num, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num ORDER BY u.place),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(num, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num ORDER BY u.place)
  FROM pg_catalog.pg_constraint k WHERE k.contype IN ('p', 'f') AND k.conrelid <> 0 ORDER BY k.conname
"""


def read_relations(connection: Connection) -> dict[str, Relation]:
    """Every ordinary table but liftlock's, Alembic's among them, in name order, from the connection's view."""
    found = connection.execute(_COLUMNS.encode()).fetchall()
    names = {oid: name for oid, name, *_ in found}
    keys: dict[int, tuple[str, ...]] = {}
    references: dict[int, list[tuple[tuple[str, ...], str, tuple[str, ...]]]] = {}
    for oid, kind, referred, own, other in connection.execute(_KEYS.encode()):
        if kind == "p":
            keys[oid] = tuple(own)
        elif referred in names:
            references.setdefault(oid, []).append((tuple(own), names[referred], tuple(other)))
    made = {}
    for oid, name, schema, relation, triggers, columns in found:
        stored = [column for column in columns if not column[4]]
        parts = (oid, name, columns, keys.get(oid), references.get(oid))
        made[name] = Relation(
            name=name, oid=oid, schema=schema, relation=relation,
            columns=tuple(column[0] for column in stored),
            types={column[0]: column[1] for column in stored},
            defaults={column[0]: column[5] for column in stored},
            key=keys.get(oid, ()),
            references=tuple(references.get(oid, ())),
            triggers=frozenset(text[:-2] for text in triggers or () if text.endswith(":O")),
            marked=bool(triggers),
            signature=hashlib.sha256(repr(parts).encode()).hexdigest(),
        )  # fmt: skip
    return made


def signature(relations: Relations) -> str:
    """One text that is equal as long as tables, columns, keys and references are."""
    parts = [relation.signature for _, relation in sorted(relations.items()) if not relation.is_alembic]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def shapes(connection: Connection, relations: Relations) -> dict[str, Shape]:
    """What the interface calls shapes. Defaults that are not constant (sequences, clocks) are left out."""
    return {
        name: Shape(
            name=name,
            columns=relation.columns,
            key=relation.key,
            defaults=_defaults(connection, relation),
            references=relation.references,
        )
        for name, relation in relations.items()
        if not relation.is_alembic
    }


def _defaults(connection: Connection, relation: Relation) -> dict[str, str | None]:
    given = {column: text for column, text in relation.defaults.items() if text is not None}
    constant = {column: text for column, text in given.items() if _is_constant(text)}
    values: dict[str, str | None] = {column: None for column in relation.columns if column not in given}
    if constant:
        shown = [
            sql.SQL("({})::{}::text").format(sql.SQL(text), sql.SQL(relation.types[column]))
            for column, text in constant.items()
        ]
        row = connection.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(shown))).fetchone()
        assert row is not None
        values.update(zip(constant, row, strict=True))
    return values


def _is_constant(text: str) -> bool:
    while (shorter := _CAST.sub("", text)) != text:
        text = shorter
    return _CONSTANT.fullmatch(text) is not None
