"""Erase the rows of smoke runs for good, through MLflow's own store.

Not through `mlflow gc`: with --run-ids alone a 3.x gc also erases every deleted *logged model* of the user, and
a 2.x gc every deleted *experiment*; here nothing but what a smoke made is ever touched.
"""

PREFIX = "liftlock-smoke-"


def erase(arguments, progress):
    """Erase experiments (by id, the name must be a smoke's) with runs and models; returns what still refers to them."""
    import mlflow.store.db.utils as utils
    import sqlalchemy
    from alembic.migration import MigrationContext
    from mlflow.entities import LifecycleStage, ViewType
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = utils.create_sqlalchemy_engine(arguments["uri"])
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    expected = utils._get_latest_schema_revision()
    if found != expected:
        # Opening the store would migrate the database.
        raise RuntimeError("the database is at revision %s and this release at %s" % (found, expected))
    store = SqlAlchemyStore(arguments["uri"], arguments["artifact_root"])
    experiments, runs, models = [], [], []
    # A smoke that was killed told nobody its ids, but its name says whose it is.
    killed = store.search_experiments(view_type=ViewType.ALL, filter_string="name LIKE '%s%%'" % PREFIX)
    wanted = list(arguments["experiment_ids"]) + [experiment.experiment_id for experiment in killed]
    _registered(arguments["uri"])
    for experiment_id in sorted(set(wanted)):
        try:
            experiment = store.get_experiment(experiment_id)
        except mlflow_exception() as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                continue  # erased before: erasing again is no error
            raise
        if not experiment.name.startswith(PREFIX):
            raise RuntimeError("experiment %s is not a smoke's" % experiment_id)
        experiments.append(experiment)
    if arguments.get("auth_uri"):
        # First, while the experiments still prove whose the grants are: SQLite gives a freed id out again.
        names = [experiment.name + "-model" for experiment in experiments]
        _permissions(arguments["auth_uri"], [str(experiment.experiment_id) for experiment in experiments], names)
    for experiment in experiments:
        for run in store.search_runs([experiment.experiment_id], "", ViewType.ALL):
            runs.append(run.info.run_id)
            if run.info.lifecycle_stage != LifecycleStage.DELETED:
                store.delete_run(run.info.run_id)
            store._hard_delete_run(run.info.run_id)
    ids = [int(experiment.experiment_id) for experiment in experiments]
    tables = sqlalchemy.MetaData()
    tables.reflect(bind=engine)
    with engine.begin() as connection:
        logged = tables.tables.get("logged_models")
        if logged is not None:
            query = sqlalchemy.select(logged.c.model_id).where(logged.c.experiment_id.in_(ids))
            models = [row[0] for row in connection.execute(query)]
            for name in ("logged_model_metrics", "logged_model_params", "logged_model_tags", "logged_models"):
                table = tables.tables[name]
                connection.execute(table.delete().where(table.c.model_id.in_(models)))
        for table in _links(tables):
            # Inputs and outputs have no foreign key to what they link, so MLflow leaves them behind.
            connection.execute(table.delete().where(_refers(table, runs + models)))
    for experiment in experiments:
        if experiment.lifecycle_stage != LifecycleStage.DELETED:
            store.delete_experiment(experiment.experiment_id)
        store._hard_delete_experiment(experiment.experiment_id)
    with engine.connect() as connection:
        remaining = _remaining(connection, tables, runs, models, ids)
    engine.dispose()
    return {"erased": [experiment.name for experiment in experiments], "remaining": remaining}


def _registered(uri):
    """Delete the registered models of smokes that were killed before they did so themselves."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

    registry = SqlAlchemyStore(uri)
    for model in registry.search_registered_models(filter_string="name LIKE '%s%%'" % PREFIX):
        registry.delete_registered_model(model.name)


def _permissions(uri, experiments, models):
    """Delete what basic-auth granted to the creator of these experiments and models."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    tables = sqlalchemy.MetaData()
    tables.reflect(bind=engine)
    with engine.begin() as connection:
        for name, column, values in (
            ("experiment_permissions", "experiment_id", experiments),
            ("registered_model_permissions", "name", models),
        ):
            table = tables.tables.get(name)
            if table is not None:
                connection.execute(table.delete().where(table.c[column].in_(values)))
        grants = tables.tables.get("role_permissions")
        if grants is not None:
            for kind, values in (("experiment", experiments), ("registered_model", models)):
                named = (grants.c.resource_type == kind) & grants.c.resource_pattern.in_(values)
                connection.execute(grants.delete().where(named))
    engine.dispose()


def mlflow_exception():
    from mlflow.exceptions import MlflowException

    return MlflowException


def _links(tables):
    return [table for name, table in tables.tables.items() if name == "inputs"]


def _refers(table, ids):
    return table.c.source_id.in_(ids) | table.c.destination_id.in_(ids)


def _remaining(connection, tables, runs, models, experiments):
    """Rows per table that still name a run, model or experiment of a smoke."""
    import sqlalchemy

    wanted = {
        "run_uuid": runs, "run_id": runs, "source_run_id": runs, "model_id": models, "source_id": runs + models,
        "destination_id": runs + models, "experiment_id": experiments,
    }  # fmt: skip
    left = {}
    for name, table in tables.tables.items():
        for column, values in wanted.items():
            if column not in table.c or not values:
                continue
            text = sqlalchemy.cast(table.c[column], sqlalchemy.String(64))
            query = sqlalchemy.select(sqlalchemy.func.count()).select_from(table)
            count = connection.execute(query.where(text.in_([str(value) for value in values]))).scalar()
            if count:
                left[name] = left.get(name, 0) + count
    return left
