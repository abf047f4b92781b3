"""The proof that an environment works: MLflow imports, opens a database and has the drivers it will need."""

import os


def prove(arguments, progress):
    """Import MLflow, create the schema in a scratch SQLite file, import database drivers the way SQLAlchemy will."""
    import mlflow
    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    directory = arguments["scratch"]
    database = os.path.join(directory, "proof.db")
    store = SqlAlchemyStore("sqlite:///" + database, os.path.join(directory, "artifacts"))
    name = store.get_experiment("0").name
    store.engine.dispose()
    drivers = []
    for scheme in arguments.get("schemes", ()):
        # Makes SQLAlchemy choose and import the driver; nothing is connected to.
        engine = sqlalchemy.create_engine(scheme + "://nobody@localhost/none")
        drivers.append(engine.dialect.driver)
        engine.dispose()
    return {
        "mlflow": mlflow.__version__,
        "sqlalchemy": sqlalchemy.__version__,
        "experiment": name,
        "drivers": drivers,
    }
