"""MLflow's own schema upgrade, as `mlflow db upgrade` and `mlflow.server.auth db upgrade` do it, with timings."""

import importlib
import re
import time

STEP = re.compile(r"Running upgrade (?P<old>\S*) -> (?P<new>[^\s,]+)")


def warm(arguments, progress):
    """Import what a migration needs, so that it can start at once later; says why the auth chain's code is missing."""
    for name in ("alembic.command", "mlflow.store.db.utils", "mlflow.store.tracking.dbmodels.models"):
        importlib.import_module(name)
    if not arguments.get("auth", True):
        return {}
    try:
        importlib.import_module("mlflow.server.auth.db.utils")
    except ImportError as error:  # before basic-auth existed, or without its extra: migrating auth will say so itself
        return {"auth": str(error)}
    return {}


def migrate(arguments, progress):
    """Upgrade one chain of one database; returns the revisions run with their seconds."""
    from alembic.runtime import migration

    chain = arguments["chain"]
    upgrade, engine, version_tables, revisions = (_auth if chain == "auth" else _tracking)(arguments["uri"])
    before = _revision(engine, version_tables, revisions)
    steps = []
    original = migration.log.info

    def info(message, *values, **options):
        now = time.monotonic()
        found = STEP.search(message % values if values else message)
        if found:
            if steps:
                steps[-1][1] = now - steps[-1][2]
            steps.append([found.group("new"), 0.0, now])
            progress({"revision": found.group("new"), "done": len(steps)})
        return original(message, *values, **options)

    migration.log.info = info
    started = time.monotonic()
    try:
        upgrade()
    finally:
        migration.log.info = original
    ended = time.monotonic()
    if steps:
        steps[-1][1] = ended - steps[-1][2]
    after = _revision(engine, version_tables, revisions)
    engine.dispose()
    return {
        "from": before,
        "to": after,
        "revisions": [[step[0], step[1]] for step in steps],
        "seconds": ended - started,
    }


def _tracking(uri):
    import mlflow.store.db.utils as utils
    from alembic.script import ScriptDirectory

    # Not `create_sqlalchemy_engine_with_retry`: it repeats for minutes what a caller with a deadline wants to know now.
    engine = utils.create_sqlalchemy_engine(uri)

    def upgrade():
        empty = getattr(utils, "_is_empty_database", None)
        if empty is not None and empty(engine):
            utils._initialize_tables(engine)
        else:
            utils._upgrade_db(engine)

    scripts = ScriptDirectory.from_config(utils._get_alembic_config("sqlite://"))
    return upgrade, engine, ["alembic_version"], {script.revision for script in scripts.walk_revisions()}


def _auth(uri):
    import mlflow.server.auth.db.utils as utils
    import sqlalchemy
    from alembic.script import ScriptDirectory

    engine = sqlalchemy.create_engine(uri)
    scripts = ScriptDirectory.from_config(utils._get_alembic_config("sqlite://"))
    # 3.6 moved the version to a table of its own and stamps an older database there before it upgrades.
    own_table = hasattr(utils, "_is_legacy_database")
    tables = ["alembic_version_auth", "alembic_version"] if own_table else ["alembic_version"]
    return (
        lambda: utils.migrate(engine, "head"),
        engine,
        tables,
        {script.revision for script in scripts.walk_revisions()},
    )


def _revision(engine, tables, known):
    """The database's revision: of the first version table that has one; a foreign chain's row is not ours."""
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        for table in tables:
            heads = MigrationContext.configure(connection, opts={"version_table": table}).get_current_heads()
            if heads and (len(tables) == 1 or set(heads) <= known):
                return ",".join(heads)
    return None
