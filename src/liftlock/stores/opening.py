"""Open the right kind of store for a URI; drivers are imported only when their engine is asked for."""

from __future__ import annotations

from liftlock.errors import UsageError
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores.interface import Store


def open_store(uri: StoreUri, role: Role) -> Store:
    """The store behind a URI. Nothing is connected to yet.

    Raises UsageError for engines that liftlock does not upgrade.
    """
    if uri.engine is Engine.SQLITE:
        from liftlock.stores.sqlite import SqliteStore

        return SqliteStore(uri, role)
    if uri.engine is Engine.POSTGRESQL:
        from liftlock.stores.postgresql import PostgresqlStore

        return PostgresqlStore(uri, role)
    what = {Engine.MYSQL: "MySQL databases", Engine.FILE: "file stores (./mlruns)"}[uri.engine]
    raise UsageError(f"{what} cannot be upgraded yet: {uri}", hint="liftlock upgrades SQLite and PostgreSQL.")
