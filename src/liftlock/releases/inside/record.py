"""Run every revision of one chain over a database filled with rows, and write down what it did: statements and rows.

Only for the recorder of `liftlock.knowledge.revisions`. The database must be empty and a scratch one.
"""

import datetime
import re

ROWS = 12
MORE = 4  # rows that a table gets anew after its columns changed
VERSIONS = {"alembic_version", "alembic_version_auth"}
# What a column must hold for a revision to find something to do, or not to refuse: cycled through by row number.
VALUES = {
    ("trace_tags", "key"): ["mlflow.traceName", "color"],
    ("trace_request_metadata", "key"): [
        "mlflow.trace.session", "mlflow.trace.tokenUsage", "mlflow.trace.cost", "mlflow.gateway.endpointId", "note",
    ],
    ("trace_request_metadata", "value"): [
        "7",
        '{"input_tokens": 3, "output_tokens": 4, "total_tokens": 7, "cache_read_input_tokens": 1,'
        ' "cache_creation_input_tokens": 2, "cache_creation_input_tokens_above_1hr": 1}',
        '{"input_cost": 0.25, "output_cost": 0.25, "total_cost": 0.5}', "x", "y",
    ],
    ("trace_metrics", "key"): ["input_tokens", "total_tokens", "other"],
    ("trace_metrics", "value"): [3.0, 4.0],
    ("span_metrics", "key"): ["input_cost", "output_cost", "total_cost", "other"],
    ("spans", "dimension_attributes"): ['{"mlflow.llm.model": "m", "mlflow.llm.provider": "p"}', None],
    ("assessments", "value"): ["1.5", '"yes"', "true"],
    ("issues", "categories"): ['["Speed", "Cost"]', None],
    ("jobs", "status"): [0, 1, 2, 3, 4],
    ("registered_model_tags", "key"): ["mlflow.prompt.is_prompt"],
    ("registered_model_tags", "value"): ["true"],
}  # fmt: skip
PERMISSIONS = ["READ", "EDIT", "NO_PERMISSIONS", "MANAGE"]


def record(arguments, progress):
    """Everything from `since` (excluded) on: {"revisions": [{...}, ...]}, oldest first."""
    import sqlalchemy as sa
    from alembic import command
    from alembic.script import ScriptDirectory

    uri, chain = arguments["uri"], arguments["chain"]
    config = _config(chain, uri)
    if arguments.get("scripts"):
        config.set_main_option("script_location", arguments["scripts"])
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())[::-1]
    engine = sa.create_engine(uri, poolclass=sa.pool.NullPool)
    if chain == "tracking":
        from mlflow.store.tracking.dbmodels.initial_models import Base

        Base.metadata.create_all(engine)
    found, recording, filled = [], arguments["since"] is None, {}
    for script in scripts:
        if recording:
            _fill(engine, filled)
            found.append(_one(engine, config, script))
            progress({"revision": script.revision})
        else:
            command.upgrade(config, script.revision)
        recording = recording or script.revision == arguments["since"]
    engine.dispose()
    return {"revisions": found}


def _config(chain, uri):
    if chain == "auth":
        import mlflow.server.auth.db.utils as utils
    else:
        import mlflow.store.db.utils as utils
    return utils._get_alembic_config(uri)


def _one(engine, config, script):
    import sqlalchemy as sa
    from alembic import command

    before, statements = _look(engine), []

    def note(connection, cursor, statement, parameters, context, many):
        statements.append(statement)

    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    try:
        command.upgrade(config, script.revision)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
    after = _look(engine)
    title = (script.doc or "").strip().splitlines()
    known = {"id": script.revision, "after": script.down_revision or "", "title": title[0] if title else ""}
    known.update(_rows(before, after))
    known.update(_statements(statements, before, after))
    known["statements"] = len(statements)
    return known


# -- what was there --


def _look(engine):
    """Table -> columns, primary key, defaults, storage number and all rows as the engine's own text."""
    import sqlalchemy as sa

    found = {}
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        for name in inspector.get_table_names():
            if name in VERSIONS:
                continue
            columns = inspector.get_columns(name)
            names = [column["name"] for column in columns if not column.get("computed")]
            key = inspector.get_pk_constraint(name)["constrained_columns"]
            quoted = ", ".join('CAST("%s" AS TEXT)' % column for column in names)
            rows = [list(row) for row in connection.execute(sa.text('SELECT %s FROM "%s"' % (quoted, name)))]
            storage = None
            if engine.dialect.name == "postgresql":
                storage = connection.execute(
                    sa.text("SELECT relfilenode FROM pg_class WHERE oid = to_regclass(:name)"), {"name": name}
                ).scalar()
            found[name] = {
                "columns": names, "key": key, "rows": rows, "storage": storage,
                "defaults": {column["name"]: column.get("default") for column in columns},
            }  # fmt: skip
    return found


def _rows(before, after):
    """What the rows that were there before look like afterwards."""
    common = sorted(set(before) & set(after))
    result = {
        "created": sorted(set(after) - set(before)), "dropped": sorted(set(before) - set(after)),
        "added": {}, "renamed": {}, "removed": {}, "keys": {}, "changed": [],
        "rows": {name: len(before[name]["rows"]) for name in common},
    }  # fmt: skip
    for name in common:
        old, new = before[name], after[name]
        gone = [column for column in old["columns"] if column not in new["columns"]]
        come = [column for column in new["columns"] if column not in old["columns"]]
        renamed = {}
        for column in gone:
            values = sorted(map(str, _column(old, column)))
            for other in come:
                if len(set(values)) > 1 and sorted(map(str, _column(new, other))) == values:
                    renamed[column] = other
        gone = [column for column in gone if column not in renamed]
        come = [column for column in come if column not in renamed.values()]
        if renamed:
            result["renamed"][name] = renamed
        if gone:
            result["removed"][name] = gone
        if come:
            result["added"][name] = {column: _filled(new, column) for column in come}
        if old["key"] != new["key"]:
            result["keys"][name] = new["key"]
        kept = [column for column in old["columns"] if column not in gone]
        old_rows = sorted(map(str, _project(old, kept)))
        new_rows = sorted(map(str, _project(new, [renamed.get(column, column) for column in kept])))
        if old_rows != new_rows:
            result["changed"].append(name)
    return result


def _column(table, column):
    place = table["columns"].index(column)
    return [row[place] for row in table["rows"]]


def _project(table, columns):
    places = [table["columns"].index(column) for column in columns]
    return [[row[place] for place in places] for row in table["rows"]]


def _filled(table, column):
    values = set(_column(table, column))
    if values == {None}:
        return "null"
    default = table["defaults"][column]
    plain = re.sub(r"::[a-z ]+$", "", str(default)).strip("()").strip("'") if default is not None else None
    return "default" if values == {plain} else "computed"


# -- what was said --

_NAME = r'"?([A-Za-z_][A-Za-z0-9_]*)"?'
_WRITE = re.compile(r"^\s*(?:INSERT INTO|UPDATE|DELETE FROM)\s+" + _NAME, re.IGNORECASE)
_READ = re.compile(r"\b(?:FROM|JOIN)\s+" + _NAME, re.IGNORECASE)
_INDEX = re.compile(r"^\s*CREATE (?:UNIQUE )?INDEX \S+ ON " + _NAME, re.IGNORECASE)
_ALTER = re.compile(r"^\s*ALTER TABLE (?:ONLY )?" + _NAME, re.IGNORECASE)
_CHECKED = re.compile(r"ADD (?:CONSTRAINT \S+ )?(?:FOREIGN KEY|PRIMARY KEY|UNIQUE|CHECK)|SET NOT NULL", re.IGNORECASE)
_COPY = re.compile(r"^\s*INSERT INTO " + _NAME + r".*\bSELECT\b", re.IGNORECASE | re.DOTALL)


def _statements(statements, before, after):
    """Tables read, written, rewritten, indexed and locked, among those that were there before."""
    reads, writes, rewritten, indexed, locked = set(), set(), set(), set(), set()
    for statement in statements:
        copied = _COPY.match(statement)
        if copied and copied.group(1).startswith("_alembic_tmp_"):
            rewritten.add(copied.group(1)[len("_alembic_tmp_") :])
            continue
        written = _WRITE.match(statement)
        if written:
            writes.add(written.group(1))
        if re.match(r"^\s*(SELECT|WITH|UPDATE|DELETE|INSERT)\b", statement, re.IGNORECASE):
            reads.update(name for name in _READ.findall(statement) if not written or name != written.group(1))
        index = _INDEX.match(statement)
        if index:
            indexed.add(index.group(1))
        alter = _ALTER.match(statement)
        if alter:
            locked.add(alter.group(1))
            if _CHECKED.search(statement):
                rewritten.add(alter.group(1))
    for name in set(before) & set(after):
        if before[name]["storage"] != after[name]["storage"]:
            rewritten.add(name)
    known = set(before)
    return {
        "reads": sorted(reads & known), "writes": sorted(writes & known), "rewritten": sorted(rewritten & known),
        "indexed": sorted(indexed & known), "locked": sorted(locked & known),
    }  # fmt: skip


# -- rows --


def _fill(engine, filled):
    """Bring every table to ROWS rows that refer to each other, more where it has new columns (`filled`: as seen)."""
    import sqlalchemy as sa

    with engine.begin() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        words = _allowed(connection)
        for table in metadata.sorted_tables:
            if table.name in VERSIONS:
                continue
            have = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar()
            columns = table.columns.keys()
            wanted = ROWS if filled.get(table.name, columns) == columns else max(ROWS, have + MORE)
            filled[table.name] = columns
            for number in range(have, wanted + 3 * ROWS):
                values = _row(connection, table, number, words) if have < wanted else None
                if values is None:
                    break
                try:
                    with connection.begin_nested():
                        connection.execute(table.insert().values(values))
                    have += 1
                except sa.exc.IntegrityError:  # a revision deleted some rows, and this number was among the others
                    pass


def _row(connection, table, number, words):
    """One row; None where the tables it refers to cannot give another combination."""
    import sqlalchemy as sa

    values = {}
    constraints = sorted(table.foreign_key_constraints, key=lambda each: -len(each.elements))
    for constraint in constraints:
        other = constraint.referred_table
        pairs = [(element.parent.name, element.column) for element in constraint.elements]
        if other.name == table.name:
            continue
        query = sa.select(*[column for _, column in pairs]).order_by(*[column for _, column in pairs])
        for name, column in pairs:
            if name in values:
                query = query.where(column == values[name])
        rows = connection.execute(query).fetchall()
        if not rows:
            return None
        for (name, _), value in zip(pairs, rows[number % len(rows)]):
            values[name] = value
    for column in table.columns:
        if column.name in values or column.computed is not None or column is table.autoincrement_column:
            continue
        values[column.name] = _value(table, column, number, words)
    return {name: value for name, value in values.items() if value is not None}


def _value(table, column, number, words):
    import sqlalchemy as sa

    choice = VALUES.get((table.name, column.name)) or words.get((table.name, column.name))
    if column.name == "permission":
        choice = PERMISSIONS
    if choice:
        value = choice[number % len(choice)]
        if isinstance(column.type, sa.JSON) and isinstance(value, str):
            import json

            return json.loads(value)
        return value
    kind = column.type
    if isinstance(kind, sa.Boolean):
        return bool(number % 2)
    if isinstance(kind, sa.JSON):
        return {"n": number}
    if isinstance(kind, sa.Integer):
        return number + 1
    if isinstance(kind, (sa.Float, sa.Numeric)):
        return number + 0.5
    if isinstance(kind, sa.LargeBinary):
        return b"\\x00%d" % number
    if isinstance(kind, sa.Date) and not isinstance(kind, sa.DateTime):
        return datetime.date(2026, 1, 1 + number)
    if isinstance(kind, sa.DateTime):
        return datetime.datetime(2026, 1, 1 + number, tzinfo=datetime.timezone.utc)
    text = "%s%d" % (column.name[:8], number)
    return text[: kind.length] if getattr(kind, "length", None) else text


def _allowed(connection):
    """(table, column) -> the words a CHECK lets in."""
    import sqlalchemy as sa

    found = {}
    inspector = sa.inspect(connection)
    for table in inspector.get_table_names():
        for check in inspector.get_check_constraints(table):
            text = check["sqltext"]
            words = re.findall(r"'([^']*)'", text)
            name = re.search(r"[A-Za-z_][A-Za-z0-9_]*", text)
            if words and name and (re.search(r"\bIN\b", text, re.IGNORECASE) or "ANY" in text):
                found[(table, name.group(0))] = words
    return found
