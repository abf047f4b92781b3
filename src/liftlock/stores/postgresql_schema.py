"""The schema of a PostgreSQL database as SQL, read from its catalogue: for comparison, and where pg_dump is absent.

`read` gives statements in two parts, before and after the data. It knows what MLflow's migrations and people's
additions to them are made of; what it cannot write down it names in `unsupported`, so that nobody trusts it then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from liftlock.stores.postgresql_catalog import LIFTLOCK
from liftlock.stores.postgresql_connect import Connection


@dataclass(frozen=True)
class Schema:
    """Statements without semicolons: those before the data (`before`) and after (`after`), and what is missing."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    unsupported: tuple[str, ...]

    def text(self) -> str:
        """Everything as one text for comparison, the same before and after a dump and restore."""
        lines = [
            *self.before,
            *map(_settled, self.after),
            *(f"-- not written down: {what}" for what in self.unsupported),
        ]
        return "".join(f"{line};\n" for line in lines)


def read(connection: Connection) -> Schema:
    """Read the schema inside the connection's open transaction, names fully qualified."""
    connection.execute("SET LOCAL search_path = pg_catalog")

    def lines(query: str) -> tuple[str, ...]:
        return tuple(str(row[0]) for row in connection.execute(query.encode()))

    before = (
        *lines(_SCHEMAS), *lines(_EXTENSIONS), *lines(_ENUMS), *lines(_SEQUENCES), *lines(_FUNCTIONS),
        *lines(_TABLES), *lines(_SEQUENCE_OWNERS),
    )  # fmt: skip
    after = (
        *lines(_CONSTRAINTS), *lines(_INDEXES), *lines(_VIEWS), *lines(_TRIGGERS), *lines(_COMMENTS),
        *lines(_OWNERS), *lines(_GRANTS),
    )  # fmt: skip
    return Schema(before, after, lines(_UNSUPPORTED))


_CASTS = re.compile(r"::(?:character varying|text)(?:\[\])?")
_BRACKETS = re.compile(r"\(('(?:[^']|'')*'|ARRAY\[[^][]*\])\)")


def _settled(line: str) -> str:
    """A condition without casts among text types: PostgreSQL writes `x IN ('a')` otherwise once it was restored.

    `(ARRAY['a'::character varying])::text[]` comes back as `ARRAY[('a'::character varying)::text]`, then stays so.
    """
    if " CHECK (" not in line and " WHERE (" not in line:
        return line
    return _BRACKETS.sub(r"\1", _BRACKETS.sub(r"\1", _CASTS.sub("", line)))


def _own(catalogue: str, alias: str) -> str:
    """Neither the server's nor liftlock's nor an extension's; `n` is the namespace of `alias`."""
    return (
        f"n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', '{LIFTLOCK}')"
        " AND NOT EXISTS (SELECT FROM pg_depend x"
        f" WHERE x.classid = '{catalogue}'::regclass AND x.objid = {alias}.oid AND x.deptype = 'e')"
    )


_RELATION = "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
_OF_OURS = f"c.relpersistence <> 't' AND {_own('pg_class', 'c')}"

_SCHEMAS = f"""
SELECT format('CREATE SCHEMA IF NOT EXISTS %I', n.nspname) FROM pg_namespace n
   WHERE {_own("pg_namespace", "n")} ORDER BY 1"""

_EXTENSIONS = """
SELECT format('CREATE EXTENSION IF NOT EXISTS %I WITH SCHEMA %I', e.extname, n.nspname)
  FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY 1"""

_ENUMS = f"""
SELECT format('CREATE TYPE %I.%I AS ENUM (%s)', n.nspname, t.typname,
              (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e
                 WHERE e.enumtypid = t.oid))
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype = 'e'
     AND {_own("pg_type", "t")} ORDER BY 1"""

_OPTIONS = """format('START WITH %s INCREMENT BY %s MINVALUE %s MAXVALUE %s CACHE %s%s', s.seqstart, s.seqincrement,
              s.seqmin, s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' CYCLE' ELSE '' END)"""

_SEQUENCES = f"""
SELECT format('CREATE SEQUENCE %I.%I AS %s %s', n.nspname, c.relname, format_type(s.seqtypid, NULL), {_OPTIONS})
  FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OF_OURS} AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                    AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'i') ORDER BY 1"""

_SEQUENCE_OWNERS = f"""
SELECT format('ALTER SEQUENCE %I.%I OWNED BY %s.%I', n.nspname, c.relname, d.refobjid::regclass, a.attname)
  FROM {_RELATION}
  JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     AND d.refclassid = 'pg_class'::regclass AND d.deptype = 'a'
  JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
 WHERE c.relkind = 'S' AND {_OF_OURS} ORDER BY 1"""

_FUNCTIONS = f"""
SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE p.prokind IN ('f', 'p') AND {_own("pg_proc", "p")} ORDER BY p.oid::regprocedure::text"""

_IDENTITY = f"""
(SELECT format(' (SEQUENCE NAME %s %s)', d.objid::regclass, {_OPTIONS})
   FROM pg_depend d JOIN pg_sequence s ON s.seqrelid = d.objid
  WHERE d.classid = 'pg_class'::regclass AND d.refobjid = c.oid AND d.refobjsubid = a.attnum AND d.deptype = 'i')"""

_TABLES = f"""
SELECT format(E'CREATE %sTABLE %I.%I (%s\\n)%s', CASE c.relpersistence WHEN 'u' THEN 'UNLOGGED '
   ELSE '' END, n.nspname, c.relname,
  (SELECT string_agg(format(E'\\n  %I %s', a.attname, format_type(a.atttypid, a.atttypmod))
     || CASE WHEN a.attcollation <> 0 AND a.attcollation <> y.typcollation
             THEN (SELECT format(' COLLATE %I.%I', cn.nspname, co.collname) FROM pg_collation co
                     JOIN pg_namespace cn ON cn.oid = co.collnamespace WHERE co.oid = a.attcollation) ELSE '' END
     || CASE WHEN a.attgenerated = 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(f.adbin, f.adrelid))
             WHEN a.attgenerated = 'v' THEN format(' GENERATED ALWAYS AS (%s) VIRTUAL', pg_get_expr(f.adbin, f.adrelid))
             WHEN a.attidentity <> '' THEN format(' GENERATED %s AS IDENTITY%s',
                  CASE a.attidentity WHEN 'a' THEN 'ALWAYS' ELSE 'BY DEFAULT' END, {_IDENTITY})
             WHEN f.adbin IS NOT NULL THEN ' DEFAULT ' || pg_get_expr(f.adbin, f.adrelid) ELSE '' END
     || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END, ',' ORDER BY a.attnum)
   FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid LEFT JOIN pg_attrdef f ON f.adrelid = c.oid
      AND f.adnum = a.attnum
  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
  CASE WHEN c.reloptions IS NULL THEN '' ELSE format(' WITH (%s)', array_to_string(c.reloptions, ', ')) END)
  FROM {_RELATION} WHERE c.relkind = 'r' AND {_OF_OURS} ORDER BY n.nspname, c.relname"""

_CONSTRAINTS = f"""
SELECT format('ALTER TABLE %I.%I ADD CONSTRAINT %I %s', n.nspname, c.relname, k.conname, pg_get_constraintdef(k.oid))
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE k.contype IN ('p', 'u', 'c', 'x', 'f') AND c.relkind = 'r' AND {_OF_OURS}
 ORDER BY position(k.contype::text IN 'puxcf'), n.nspname, c.relname, k.conname"""

_INDEXES = f"""
SELECT pg_get_indexdef(i.indexrelid) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
   JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_OF_OURS} AND c.relkind = 'r'
   AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid
      AND k.contype IN ('p', 'u', 'x')) ORDER BY 1"""

# In the order of their making, so that a view stands after those it reads.
_VIEWS = f"""
SELECT format(E'CREATE VIEW %I.%I AS\\n%s', n.nspname, c.relname, rtrim(pg_get_viewdef(c.oid), ';'))
  FROM {_RELATION} WHERE c.relkind = 'v' AND {_OF_OURS} ORDER BY c.oid"""

_NOT_LIFTLOCKS = f"""NOT t.tgisinternal AND NOT EXISTS (SELECT FROM pg_proc p
   WHERE p.oid = t.tgfoid AND p.pronamespace = to_regnamespace('{LIFTLOCK}'))"""

_TRIGGERS = f"""
SELECT line FROM (
  SELECT n.nspname, c.relname, t.tgname, 0 AS part, pg_get_triggerdef(t.oid) AS line
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE {_NOT_LIFTLOCKS} AND {_OF_OURS}
  UNION ALL
  SELECT n.nspname, c.relname, t.tgname, 1, format('ALTER TABLE %I.%I %s TRIGGER %I', n.nspname, c.relname,
         CASE t.tgenabled WHEN 'D' THEN 'DISABLE' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'ENABLE ALWAYS' END, t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
   WHERE {_NOT_LIFTLOCKS} AND t.tgenabled <> 'O' AND {_OF_OURS}) q ORDER BY nspname, relname, tgname, part"""

_COMMENTS = f"""
SELECT CASE WHEN d.objsubid = 0
            THEN format('COMMENT ON %s %I.%I IS %L', CASE c.relkind WHEN 'r' THEN 'TABLE'
               WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE'
                                                     ELSE 'INDEX' END, n.nspname, c.relname, d.description)
            ELSE format('COMMENT ON COLUMN %I.%I.%I IS %L', n.nspname, c.relname, a.attname, d.description) END
  FROM pg_description d JOIN pg_class c ON c.oid = d.objoid AND d.classoid = 'pg_class'::regclass
  JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_attribute a ON a.attrelid = c.oid
     AND a.attnum = d.objsubid
 WHERE c.relkind IN ('r', 'v', 'S', 'i') AND {_OF_OURS} ORDER BY 1"""

_OWNERS = f"""
SELECT format('ALTER %s %I.%I OWNER TO %I', CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW'
   ELSE 'SEQUENCE' END,
              n.nspname, c.relname, pg_get_userbyid(c.relowner))
  FROM {_RELATION} WHERE c.relkind IN ('r', 'v', 'S') AND {_OF_OURS}
   AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.refclassid = 'pg_class'::regclass AND d.deptype IN ('a', 'i'))
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO %I', p.oid::regprocedure, pg_get_userbyid(p.proowner))
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('f', 'p')
     AND {_own("pg_proc", "p")} ORDER BY 1"""

_GRANTS = f"""
SELECT format('GRANT %s ON %s %I.%I TO %s%s', g.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE'
   ELSE 'TABLE' END,
              n.nspname, c.relname, CASE g.grantee WHEN 0 THEN 'PUBLIC'
                 ELSE quote_ident(pg_get_userbyid(g.grantee)) END,
              CASE WHEN g.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
  FROM {_RELATION}, aclexplode(c.relacl) g WHERE c.relkind IN ('r', 'v', 'S') AND {_OF_OURS}
     AND g.grantee <> c.relowner
UNION ALL
SELECT format('GRANT %s ON SCHEMA %I TO %s', g.privilege_type, n.nspname,
              CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(g.grantee)) END)
  FROM pg_namespace n, aclexplode(n.nspacl) g WHERE {_own("pg_namespace", "n")}
     AND g.grantee <> n.nspowner ORDER BY 1"""

_UNSUPPORTED = f"""
SELECT format('%s %I.%I', CASE c.relkind WHEN 'p' THEN 'partitioned table' WHEN 'm' THEN 'materialized view'
              WHEN 'f' THEN 'foreign table' ELSE 'partition or heir' END, n.nspname, c.relname)
  FROM {_RELATION} WHERE {_OF_OURS} AND (c.relkind IN ('p', 'm', 'f')
       OR (c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid)))
UNION ALL
SELECT format('type %I.%I', n.nspname, t.typname) FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_class c ON c.oid = t.typrelid
 WHERE (t.typtype IN ('d', 'r') OR (t.typtype = 'c' AND c.relkind = 'c')) AND {_own("pg_type", "t")}
UNION ALL
SELECT format('%s %I.%I', CASE p.prokind WHEN 'a' THEN 'aggregate' ELSE 'window function' END, n.nspname, p.proname)
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prokind IN ('a', 'w') AND {_own("pg_proc", "p")}
UNION ALL
SELECT format('row security of %I.%I', n.nspname, c.relname) FROM {_RELATION}
 WHERE (c.relrowsecurity OR EXISTS (SELECT FROM pg_policy y WHERE y.polrelid = c.oid)) AND {_OF_OURS}
UNION ALL
SELECT format('rule %I on %I.%I', r.rulename, n.nspname, c.relname) FROM pg_rewrite r
   JOIN pg_class c ON c.oid = r.ev_class
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' AND {_OF_OURS}
UNION ALL
SELECT 'large objects' WHERE EXISTS (SELECT FROM pg_largeobject_metadata) ORDER BY 1"""
