"""Rows for timing a migration: a table's dozen rows repeated under other keys, and traces with what hangs on them."""

import importlib.util
import math
import os

HERE = os.path.dirname(os.path.abspath(__file__))
# What hangs on a trace, by row of trace_info. One of its five spans is of a model, with costs.
PER_TRACE = {
    "spans": 5, "trace_tags": 2, "trace_request_metadata": 2, "trace_metrics": 3, "span_metrics": 3, "assessments": 1,
}  # fmt: skip
WIDE = {("spans", "content"): 900}
WIDTH = 40  # characters a free text is filled up to
POINTS = 200  # of metrics, by run
STEP = 100  # between the numbers of multiplied rows; the dozen rows that are multiplied have smaller ones


def _record():
    spec = importlib.util.spec_from_file_location("liftlock_inside_record", os.path.join(HERE, "record.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def count(engine, table):
    import sqlalchemy as sa

    with engine.connect() as connection:
        return connection.execute(sa.text('SELECT count(*) FROM "%s"' % table)).scalar()


def multiply(engine, name, wanted):
    """Bring a table to about `wanted` rows by repeating those it has under other keys; parents where keys need it."""
    import sqlalchemy as sa

    with engine.connect() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        have = connection.execute(sa.text('SELECT count(*) FROM "%s"' % name)).scalar()
        words = _record()._allowed(connection)
    _repeat(engine, metadata, words, name, max(1, math.ceil((wanted - have) / have)), {})


def _repeat(engine, metadata, words, name, times, done):
    """Insert every row `times` more, with the columns of `_varied` changed by the number of the round."""
    import sqlalchemy as sa

    if name in done:
        return done[name]
    table = metadata.tables[name]
    sets = _keys(engine, table)
    foreign = {column.name: key for column in table.columns for key in column.foreign_keys}
    varied = done[name] = set()
    for keys in sets:
        if varied & set(keys):
            continue
        own = [table.columns[key] for key in keys if key not in foreign and (name, key) not in words]
        # A number where there is one: rows of a run have the same few keys and many steps.
        own.sort(key=lambda each: not isinstance(each.type, sa.Integer))
        own = [each for each in own if not isinstance(each.type, (sa.Boolean, sa.DateTime, sa.JSON))]
        if own:
            varied.add(own[0].name)
            continue
        for key in keys:  # only keys of others make it unique: those must be multiplied, too
            if key in foreign and foreign[key].column.table.name != name:
                _repeat(engine, metadata, words, foreign[key].column.table.name, times, done)
                varied.add(key)
                break
        else:
            raise ValueError("%s: rows cannot be multiplied, %s is unique" % (name, keys))
    names, values = [], []
    for column in table.columns:
        if column.computed is not None:
            continue
        names.append('"%s"' % column.name)
        values.append(_changed(engine, table, column, varied, words))
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                'INSERT INTO "%s" (%s) SELECT %s FROM "%s" b CROSS JOIN (%s) n'
                % (name, ", ".join(names), ", ".join(values), name, _rounds(engine, times))
            )
        )
        _advance(connection, engine, table)
    return varied


def _keys(engine, table):
    """Every set of columns that is unique."""
    import sqlalchemy as sa

    inspector = sa.inspect(engine)
    found = [inspector.get_pk_constraint(table.name)["constrained_columns"]]
    found += [each["column_names"] for each in inspector.get_unique_constraints(table.name)]
    found += [each["column_names"] for each in inspector.get_indexes(table.name) if each["unique"]]
    return [keys for keys in found if keys]


def _changed(engine, table, column, varied, words):
    """The SQL of a column's value in a multiplied row."""
    import sqlalchemy as sa

    text = isinstance(column.type, (sa.String, sa.Text)) and not isinstance(column.type, sa.Enum)
    if column.name in varied:
        if text:
            return "b.\"%s\" || '-' || n.i" % column.name
        return 'b."%s" + n.i%s' % (column.name, "" if isinstance(column.type, sa.Date) else " * %d" % STEP)
    length = getattr(column.type, "length", None)
    width = WIDE.get((table.name, column.name), WIDTH)
    spoken_for = column.foreign_keys or (table.name, column.name) in words
    spoken_for = spoken_for or (table.name, column.name) in _record().VALUES or column.name == "permission"
    if text and not spoken_for and (length is None or length >= 2 * width):
        return "b.\"%s\" || '%s'" % (column.name, "x" * width)
    return 'b."%s"' % column.name


def _rounds(engine, times):
    if engine.dialect.name == "postgresql":
        return "SELECT generate_series(1, %d) AS i" % times
    return "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < %d) SELECT i FROM r" % times


def _advance(connection, engine, table):
    """Let sequences go on behind the numbers that were given out by hand."""
    import sqlalchemy as sa

    column = table.autoincrement_column
    if engine.dialect.name == "postgresql" and column is not None:
        connection.execute(
            sa.text(
                'SELECT setval(pg_get_serial_sequence(\'"%s"\', \'%s\'), (SELECT max("%s") FROM "%s"))'
                % (table.name, column.name, column.name, table.name)
            )
        )


def points(engine, name, wanted):
    """So many points of metrics, as runs that train at the same time write them; the runs as well."""
    import sqlalchemy as sa

    multiply(engine, "runs", max(2, wanted // POINTS))
    metadata = sa.MetaData()
    metadata.reflect(engine)
    table = metadata.tables[name]
    told = {
        "run_uuid": "r.run_uuid", "key": "'metric-' || (k.i % 4)", "value": "k.i * 0.5", "step": "k.i",
        "timestamp": "b.timestamp + k.i",
    }  # fmt: skip
    columns = {column.name: told.get(column.name, "b." + column.name) for column in table.columns}
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO %s (%s) SELECT %s FROM runs r CROSS JOIN (%s) k CROSS JOIN (SELECT * FROM %s LIMIT 1) b "
                "ORDER BY k.i" % (name, ", ".join(columns), ", ".join(columns.values()), _rounds(engine, POINTS), name)
            )
        )


def traces(engine, name, wanted):
    """So many traces with what a client logs for each: the numbers of PER_TRACE."""
    import sqlalchemy as sa

    children = ("span_metrics", "spans", "trace_tags", "trace_request_metadata", "trace_metrics", "assessments")
    with engine.begin() as connection:
        for child in children:
            connection.execute(sa.text("DELETE FROM %s" % child))
    multiply(engine, name, wanted)
    tokens = '{"input_tokens": 300, "output_tokens": 40, "total_tokens": 340}'
    model = '{"mlflow.llm.model": "a-model", "mlflow.llm.provider": "a-provider"}'
    content = "x" * WIDE[("spans", "content")]
    metadata = sa.MetaData()
    metadata.reflect(engine)
    json = "CAST(:model AS JSON)" if engine.dialect.name == "postgresql" else ":model"
    spans = {
        "trace_id": "t.request_id", "experiment_id": "t.experiment_id", "span_id": "'span-' || k.i",
        "parent_span_id": "CASE k.i WHEN 1 THEN NULL ELSE 'span-1' END", "name": "'step ' || k.i", "type": "'CHAIN'",
        "status": "'OK'", "start_time_unix_nano": "t.timestamp_ms * 1000000", "content": ":content",
        "end_time_unix_nano": "t.timestamp_ms * 1000000 + 1000",
        "dimension_attributes": "CASE k.i WHEN 2 THEN %s END" % json,
    }  # fmt: skip
    assessments = {
        "assessment_id": "'a-' || t.request_id", "trace_id": "t.request_id", "name": "'helpful'",
        "assessment_type": "'feedback'", "value": "'true'", "created_timestamp": "t.timestamp_ms",
        "last_updated_timestamp": "t.timestamp_ms", "source_type": "'HUMAN'", "valid": "true",
    }  # fmt: skip
    pairs = "(SELECT :a AS key, :x AS value UNION ALL SELECT :b, :y)"
    three = "(SELECT :a AS key UNION ALL SELECT :b UNION ALL SELECT :c)"
    with engine.begin() as connection:

        def put(table, columns, source, **values):
            statement = "INSERT INTO %s (%s) SELECT %s FROM %s" % (
                table, ", ".join(columns), ", ".join(columns.values()), source,
            )  # fmt: skip
            connection.execute(sa.text(statement), values)

        put("spans", spans, "trace_info t CROSS JOIN (%s) k" % _rounds(engine, 5), content=content, model=model)
        put("assessments", assessments, "trace_info t")
        pair = {"key": "k.key", "request_id": "t.request_id", "value": "k.value"}
        put(
            "trace_tags",
            pair,
            "trace_info t CROSS JOIN %s k" % pairs,
            a="mlflow.traceName",
            x="answer",
            b="color",
            y="red",
        )
        put(
            "trace_request_metadata", pair, "trace_info t CROSS JOIN %s k" % pairs,
            a="mlflow.trace.session", x="session-7", b="mlflow.trace.tokenUsage", y=tokens,
        )  # fmt: skip
        number = {"request_id": "t.request_id", "key": "k.key", "value": "300.0"}
        put(
            "trace_metrics", number, "trace_info t CROSS JOIN %s k" % three,
            a="input_tokens", b="output_tokens", c="total_tokens",
        )  # fmt: skip
        cost = {"trace_id": "t.request_id", "span_id": "'span-2'", "key": "k.key", "value": "0.25"}
        put(
            "span_metrics", cost, "trace_info t CROSS JOIN %s k" % three,
            a="input_cost", b="output_cost", c="total_cost",
        )  # fmt: skip
