"""Run each revision of one chain over databases of several sizes and with rows that spoil it: seconds, locks, aborts.

Only for the recorder of `liftlock.knowledge.costs`. The database must be empty and a scratch one, and on this machine:
the server's CPU time is read from /proc. Seconds are CPU seconds of this process and of the database server, without
what the same revision takes on a dozen rows, so that other programs on the machine count little.
"""

import importlib.util
import os
import statistics
import time

HERE = os.path.dirname(os.path.abspath(__file__))
# Rows of a table at which a revision is timed, and of tables that have many more than others in practice.
SIZES = (20000, 100000)
MANY = {"metrics": (200000, 1000000)}
REPEATS = 3  # of the smallest size, one fewer of each larger one
TRACES = (3000, 10000, 30000)
# Of revisions that look for each run's latest points in all of metrics, or write a role for every permission by itself.
FEW = {"89d4b8295536": (10000, 40000), "e5f6a7b8c9d0": (2000, 8000)}
TRACE_REVISIONS = {"75868b020152"}
TEMPORARY = "_alembic_tmp_"


def measure(arguments, progress):
    """Those of `only`, or all of the chain; what was measured is reported as progress, a revision at a time."""
    from alembic import command
    from alembic.script import ScriptDirectory

    record = _sibling("record")
    config = record._config(arguments["chain"], arguments["uri"])
    if arguments.get("scripts"):
        config.set_main_option("script_location", arguments["scripts"])
    place = _sibling("cost_places").place(arguments["uri"])
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
    rows = _sibling("cost_rows")
    seen = _look(record, place, config, script)
    base = statistics.median(_timed(place, config, script, place.copy("base")) for _ in range(REPEATS))
    loads = []
    for table in sorted(seen["touched"]):
        if script.revision in TRACE_REVISIONS and table in {"trace_info", *rows.PER_TRACE}:
            continue
        sizes = FEW.get(script.revision) or MANY.get(table, SIZES)
        grow = rows.points if table == "metrics" else rows.multiply
        loads.append(_load(place, config, script, base, table, sizes, grow))
    if script.revision in TRACE_REVISIONS:
        loads.append(dict(_load(place, config, script, base, "trace_info", TRACES, rows.traces), per=rows.PER_TRACE))
    return {
        "id": script.revision, "version": place.version(), "base": round(base, 3), "loads": loads,
        "locks": seen["locks"], "aborts": _aborts(record, place, config, script, seen),
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
    # A lock that lets everybody go on is that of a foreign key looking at its other end.
    weak = {table for table, mode in locks.items() if mode in place.STRENGTH[:4]}
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
    counts, seconds = [], []
    for size in sizes:
        grown = place.copy("grown")
        engine = place.engine(grown)
        multiply(engine, table, size)
        counts.append(_sibling("cost_rows").count(engine, table))
        engine.dispose()
        repeats = max(1, REPEATS - sizes.index(size))
        runs = [_timed(place, config, script, place.copy("run", grown)) for _ in range(repeats)]
        place.drop(grown)
        seconds.append(round(max(0.0, min(runs) - base), 3))
    return {"of": table, "rows": counts, "seconds": seconds}


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
        planted = "%sTABLE, left over from an upgrade that was cut off (TABLE: %s)" % (TEMPORARY, names)
        found.append({"planted": planted, "error": left[0]["error"]})
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
                    yield (
                        "%s.%s that is %s" % (name, column.name, label),
                        ['UPDATE "%s" SET "%s" = \'%s\'' % (name, column.name, value)],
                    )
    for name in seen["created"][:1]:
        yield "a table %s that is there already" % name, ['CREATE TABLE "%s" (x INTEGER)' % name]
    for name in seen["rewritten"] if engine.dialect.name == "sqlite" else ():
        left = TEMPORARY + name
        yield "%s, left over from an upgrade that was cut off" % left, ['CREATE TABLE "%s" (x INTEGER)' % left]
    if {"roles", "user_role_assignments"} <= set(seen["read"]):
        yield (
            "a role __user_1__ that another user has",
            [
                "UPDATE roles SET name = '__user_1__' WHERE id = (SELECT min(id) FROM roles)",
                "DELETE FROM user_role_assignments",
                "INSERT INTO user_role_assignments (user_id, role_id) SELECT 2, min(id) FROM roles",
            ],
        )
    engine.dispose()
    place.drop(uri)


def _line(error):
    text = str(getattr(error, "orig", None) or error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, " ".join((text or [""])[0].split())[:160])
