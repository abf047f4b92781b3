"""Run each revision of one chain over databases of several sizes and with rows that spoil it: seconds, locks, aborts.

Only for the recorder of `liftlock.knowledge.costs`. The database must be empty and a scratch one, and on this machine:
the server's CPU time is read from /proc. Seconds are CPU seconds of this process and of the database server, without
what the same revision takes on a dozen rows, so that other programs on the machine count little.
"""

import importlib.util
import math
import os
import shutil
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Rows of a table at which a revision is timed, and of tables that have many more than others in practice.
SIZES = (20000, 100000)
MANY = {"metrics": (200000, 1000000)}
REPEATS = 3  # of the smallest size, one fewer of each larger one
# What hangs on a trace, by row of trace_info. One of its five spans is of a model, with costs.
TRACES = (5000, 20000, 60000)
PER_TRACE = {
    "spans": 5, "trace_tags": 2, "trace_request_metadata": 2, "trace_metrics": 3, "span_metrics": 3, "assessments": 1,
}  # fmt: skip
TRACE_REVISIONS = {"75868b020152"}
TEMPORARY = "_alembic_tmp_"
WIDE = {("spans", "content"): 900}
WIDTH = 40  # characters a free text is filled up to
STEP = 100  # between the numbers of multiplied rows; the dozen rows that are multiplied have smaller ones


def measure(arguments, progress):
    """Those of `only`, or all of the chain: what was measured is reported as progress, one revision after the other."""
    from alembic import command
    from alembic.script import ScriptDirectory

    record = _sibling("record")
    config = record._config(arguments["chain"], arguments["uri"])
    if arguments.get("scripts"):
        config.set_main_option("script_location", arguments["scripts"])
    place = (Postgres if arguments["uri"].startswith("postgresql") else Sqlite)(arguments["uri"])
    engine = place.engine(arguments["uri"])
    if arguments["chain"] == "tracking":
        from mlflow.store.tracking.dbmodels.initial_models import Base

        Base.metadata.create_all(engine)
    found, filled = [], {}
    for script in list(ScriptDirectory.from_config(config).walk_revisions())[::-1]:
        record._fill(engine, filled)
        engine.dispose()
        if not arguments.get("only") or script.revision in arguments["only"]:
            one = _one(record, place, config, script)
            found.append(one["id"])
            progress(one)
        config.set_main_option("sqlalchemy.url", arguments["uri"].replace("%", "%%"))
        command.upgrade(config, script.revision)
    return {"revisions": found}


def revisions(arguments, progress):
    """The ids of a chain, in order."""
    from alembic.script import ScriptDirectory

    config = _sibling("record")._config(arguments["chain"], "sqlite://")
    if arguments.get("scripts"):
        config.set_main_option("script_location", arguments["scripts"])
    return [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()][::-1]


def _sibling(name):
    spec = importlib.util.spec_from_file_location("liftlock_inside_" + name, os.path.join(HERE, name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _one(record, place, config, script):
    seen = _look(record, place, config, script)
    base = min(_timed(place, config, script, place.copy("base")) for _ in range(REPEATS))
    loads = []
    for table in sorted(seen["touched"]):
        if script.revision in TRACE_REVISIONS and table in {"trace_info", *PER_TRACE}:
            continue
        loads.append(_load(place, config, script, base, table, MANY.get(table, SIZES), _multiply))
    if script.revision in TRACE_REVISIONS:
        loads.append(dict(_load(place, config, script, base, "trace_info", TRACES, _traces), per=PER_TRACE))
    return {
        "id": script.revision, "version": place.version(), "base": round(base, 3), "loads": loads, "locks": seen["locks"],
        "aborts": _aborts(record, place, config, script, seen),
    }  # fmt: skip


# -- one run --


def _look(record, place, config, script):
    """The tables it touches among those there are, and the strongest lock it holds on each when it commits."""
    import sqlalchemy as sa
    from alembic import command

    uri = place.copy("look")
    engine = place.engine(uri)
    before, statements, locks = record._look(engine), [], {}

    def note(connection, cursor, statement, parameters, context, many):
        statements.append(statement)

    def held(connection):
        for table, mode in place.locks(connection):
            if table in before:
                locks[table] = max(locks.get(table, ""), mode, key=place.STRENGTH.index)

    config.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", note)
    sa.event.listen(sa.engine.Engine, "commit", held)
    try:
        command.upgrade(config, script.revision)
    finally:
        sa.event.remove(sa.engine.Engine, "before_cursor_execute", note)
        sa.event.remove(sa.engine.Engine, "commit", held)
    after = record._look(engine)
    engine.dispose()
    place.drop(uri)
    known, rows = record._statements(statements, before, after), record._rows(before, after)
    touched = set(locks) | set(rows["changed"]) | set(rows["added"]) | set(rows["removed"]) | set(rows["renamed"])
    for name in ("reads", "writes", "rewritten", "indexed", "locked"):
        touched |= set(known[name])
    # A lock that lets everybody go on reading and writing is that of a foreign key looking at its other end.
    weak = {table for table, mode in locks.items() if mode in Postgres.STRENGTH[:4]}
    work = touched - (weak - set(known["reads"]) - set(known["rewritten"]) - set(known["indexed"]))
    return {
        "touched": {table for table in work if before[table]["rows"]}, "locks": locks, "rewritten": known["rewritten"],
        "read": sorted(set(known["reads"]) | set(known["writes"])), "created": rows["created"],
    }  # fmt: skip


def _timed(place, config, script, uri):
    """CPU seconds of the revision on this database, which is dropped afterwards."""
    from alembic import command

    config.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
    place.settle(uri)
    before = place.cpu()
    command.upgrade(config, script.revision)
    time.sleep(place.PAUSE)  # a server process that ends has its time counted a moment later
    took = place.cpu() - before
    place.drop(uri)
    return took


def _load(place, config, script, base, table, sizes, multiply):
    """Seconds over the base at each size: the least of several runs on equal copies."""
    rows, seconds = [], []
    for size in sizes:
        grown = place.copy("grown")
        engine = place.engine(grown)
        multiply(engine, table, size)
        rows.append(_count(engine, table))
        engine.dispose()
        repeats = max(1, REPEATS - sizes.index(size))
        runs = [_timed(place, config, script, place.copy("run", grown)) for _ in range(repeats)]
        place.drop(grown)
        seconds.append(round(max(0.0, min(runs) - base), 3))
    return {"of": table, "rows": rows, "seconds": seconds}


# -- rows --


def _count(engine, table):
    import sqlalchemy as sa

    with engine.connect() as connection:
        return connection.execute(sa.text('SELECT count(*) FROM "%s"' % table)).scalar()


def _multiply(engine, name, count, fixed=()):
    """Bring a table to about `count` rows by repeating those it has under other keys; its parents where keys need it."""
    import sqlalchemy as sa

    with engine.connect() as connection:
        metadata = sa.MetaData()
        metadata.reflect(connection)
        have = connection.execute(sa.text('SELECT count(*) FROM "%s"' % name)).scalar()
        words = _sibling("record")._allowed(connection)
    _repeat(engine, metadata, words, name, max(1, math.ceil((count - have) / have)), {})


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
    spoken_for = spoken_for or (table.name, column.name) in _sibling("record").VALUES
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
                "SELECT setval(pg_get_serial_sequence('\"%s\"', '%s'), (SELECT max(\"%s\") FROM \"%s\"))"
                % (table.name, column.name, column.name, table.name)
            )
        )


def _traces(engine, name, count):
    """So many traces with what a client logs for each: the numbers of PER_TRACE."""
    import sqlalchemy as sa

    children = ("span_metrics", "spans", "trace_tags", "trace_request_metadata", "trace_metrics", "assessments")
    with engine.begin() as connection:
        for child in children:
            connection.execute(sa.text("DELETE FROM %s" % child))
    _multiply(engine, name, count)
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
        "end_time_unix_nano": "t.timestamp_ms * 1000000 + 1000", "dimension_attributes": "CASE k.i WHEN 2 THEN %s END" % json,
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
        put("trace_tags", pair, "trace_info t CROSS JOIN %s k" % pairs, a="mlflow.traceName", x="answer", b="color", y="red")
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


# -- what makes it fail --


def _aborts(record, place, config, script, seen):
    """[{"planted": ..., "error": ...}]: what was put into the database, where the revision then failed."""
    from alembic import command

    found = []
    for label, statements in _plants(record, place, seen):
        uri = place.copy("spoilt")
        if place.spoil(uri, statements):
            config.set_main_option("sqlalchemy.url", uri.replace("%", "%%"))
            try:
                command.upgrade(config, script.revision)
            except Exception as error:
                found.append({"planted": label, "error": _line(error)})
        place.drop(uri)
    left = [each for each in found if each["planted"].startswith(TEMPORARY)]
    if len(left) > 1:  # the same for every table that is written anew
        names = ", ".join(each["planted"][len(TEMPORARY) :].partition(",")[0] for each in left)
        found = [each for each in found if each not in left]
        found.append({"planted": "%sTABLE, left over from an upgrade that was cut off (TABLE: %s)" % (TEMPORARY, names),
                      "error": left[0]["error"]})  # fmt: skip
    return found


def _plants(record, place, seen):
    """(what it is, the statements that make it): orphans, spoilt JSON, leftovers of an upgrade that was cut off."""
    import sqlalchemy as sa

    uri = place.copy("shape")
    engine = place.engine(uri)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    for name in sorted(seen["touched"]):
        table = metadata.tables[name]
        for key in sorted(table.foreign_key_constraints, key=lambda each: each.column_keys):
            other = key.referred_table.name
            column = key.elements[-1].parent
            text = isinstance(column.type, (sa.String, sa.Text))
            # A row that is there loses what it refers to: its own keys stay unique, whatever they are.
            statement = 'UPDATE "%s" SET "%s" = %s WHERE "%s" = (SELECT min("%s") FROM "%s")' % (
                name, column.name, "'gone'" if text else "99999", column.name, column.name, name,
            )  # fmt: skip
            yield "a row of %s whose %s names no row of %s" % (name, column.name, other), [statement]
        for column in table.columns if name in seen["read"] else ():
            samples = record.VALUES.get((name, column.name), ())
            if isinstance(column.type, sa.JSON) or any(str(each).startswith(("{", "[")) for each in samples):
                for label, value in (("no JSON", "{half"), ("JSON of another shape", '[{"other": 1}]')):
                    yield "%s.%s that is %s" % (name, column.name, label), [
                        'UPDATE "%s" SET "%s" = \'%s\'' % (name, column.name, value)
                    ]
    for name in seen["created"][:1]:
        yield "a table %s that is there already" % name, ['CREATE TABLE "%s" (x INTEGER)' % name]
    for name in seen["rewritten"] if engine.dialect.name == "sqlite" else ():
        left = TEMPORARY + name
        yield "%s, left over from an upgrade that was cut off" % left, ['CREATE TABLE "%s" (x INTEGER)' % left]
    if {"roles", "user_role_assignments"} <= set(seen["read"]):
        yield "a role __user_1__ that another user has", [
            "UPDATE roles SET name = '__user_1__' WHERE id = (SELECT min(id) FROM roles)",
            "DELETE FROM user_role_assignments",
            "INSERT INTO user_role_assignments (user_id, role_id) SELECT 2, min(id) FROM roles",
        ]
    engine.dispose()
    place.drop(uri)


def _line(error):
    text = str(getattr(error, "orig", None) or error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, " ".join((text or [""])[0].split())[:160])


# -- where it runs --


class Sqlite:
    """Copies of a database file."""

    PAUSE = 0.0
    STRENGTH = [""]

    def __init__(self, uri):
        self.path = uri.partition("///")[2]

    def version(self):
        import sqlite3

        return "SQLite " + sqlite3.sqlite_version

    def engine(self, uri):
        import sqlalchemy as sa

        return sa.create_engine(uri, poolclass=sa.pool.NullPool)

    def copy(self, name, source=None):
        path = "%s.%s" % (self.path, name)
        shutil.copyfile(source.partition("///")[2] if source else self.path, path)
        return "sqlite:///" + path

    def drop(self, uri):
        os.unlink(uri.partition("///")[2])

    def settle(self, uri):
        pass

    def cpu(self):
        return time.process_time()

    def locks(self, connection):
        return ()

    def spoil(self, uri, statements):
        import sqlite3

        file = sqlite3.connect(uri.partition("///")[2])
        try:
            with file:
                for statement in statements:
                    file.execute(statement)
        except sqlite3.Error:  # this engine does not let it in
            return False
        finally:
            file.close()
        return True


class Postgres:
    """Databases made from one another as templates, on a server of this machine."""

    PAUSE = 0.1
    STRENGTH = [
        "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
        "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
    ]  # fmt: skip
    STRENGTH.insert(0, "")

    def __init__(self, uri):
        import sqlalchemy as sa

        self.url = sa.engine.make_url(uri)
        self.admin = sa.create_engine(
            self.url.set(database="postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool
        )
        with self.admin.connect() as connection:
            data = connection.execute(sa.text("SHOW data_directory")).scalar()
            self.number = connection.execute(sa.text("SHOW server_version")).scalar().split()[0]
        with open(os.path.join(data, "postmaster.pid")) as file:
            self.pid = int(file.readline())

    def version(self):
        return "PostgreSQL " + self.number

    def engine(self, uri):
        import sqlalchemy as sa

        return sa.create_engine(uri, poolclass=sa.pool.NullPool)

    def copy(self, name, source=None):
        import sqlalchemy as sa

        origin = sa.engine.make_url(source).database if source else self.url.database
        made = "%s_%s" % (self.url.database, name)
        self._run('CREATE DATABASE "%s" TEMPLATE "%s"' % (made, origin))
        return self.url.set(database=made).render_as_string(hide_password=False)

    def drop(self, uri):
        import sqlalchemy as sa

        self._run('DROP DATABASE "%s" WITH (FORCE)' % sa.engine.make_url(uri).database)

    def settle(self, uri):
        """Statistics as autovacuum would have made them, and everything written out."""
        import sqlalchemy as sa

        engine = sa.create_engine(uri, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
        with engine.connect() as connection:
            connection.execute(sa.text("ANALYZE"))
            connection.execute(sa.text("CHECKPOINT"))

    def cpu(self):
        return time.process_time() + _tree(self.pid)

    def locks(self, connection):
        cursor = connection.connection.cursor()
        cursor.execute(
            "SELECT c.relname, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
            "WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace"
        )
        return cursor.fetchall()

    def spoil(self, uri, statements):
        import sqlalchemy as sa

        engine = self.engine(uri)
        try:
            with engine.begin() as connection:
                connection.execute(sa.text("SET session_replication_role = replica"))  # foreign keys are not looked at
                for statement in statements:
                    connection.exec_driver_sql(statement)
        except sa.exc.SQLAlchemyError:
            return False
        finally:
            engine.dispose()
        return True

    def _run(self, statement):
        with self.admin.connect() as connection:
            connection.exec_driver_sql(statement)


def _tree(pid):
    """CPU seconds of a process, of its children, and of those children that have ended."""
    ticks = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:  # it has ended meanwhile
                continue
            if int(name) == pid:
                ticks += sum(int(each) for each in fields[11:15])
            elif int(fields[1]) == pid:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / float(os.sysconf("SC_CLK_TCK"))
