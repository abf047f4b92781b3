"""Open the right kind of store for a URI; drivers are imported only when their engine is asked for."""

from __future__ import annotations

from liftlock.errors import UsageError
from liftlock.model.deployment import Role
from liftlock.model.uri import Engine, StoreUri
from liftlock.stores.interface import Store
from liftlock.stores.live import Live


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


def live(store: Store) -> Live:
    """A database of a deployment as an online upgrade needs it. Nothing is connected to yet.

    Raises UsageError for engines that liftlock does not upgrade while people write.
    """
    if store.uri.engine is Engine.SQLITE:
        from liftlock.stores.sqlite_live import SqliteLive

        return SqliteLive(store)
    if store.uri.engine is Engine.POSTGRESQL:
        from liftlock.stores.postgresql_live import PostgresqlLive

        return PostgresqlLive(store)
    raise UsageError(f"an online upgrade works on SQLite and PostgreSQL: {store.uri}", hint="Use another strategy.")
