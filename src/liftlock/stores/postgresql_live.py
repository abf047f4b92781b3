"""An online upgrade's hands in a PostgreSQL database: capture, views, fence, apply, copy.

Everything of ours is in the schema `liftlock` and in triggers that call functions of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from liftlock.effects import side_effect
from liftlock.errors import StoreError
from liftlock.model.progress import Observer, silent
from liftlock.stores import postgresql_capture as capture
from liftlock.stores import postgresql_catalog as catalog
from liftlock.stores import postgresql_fence as fence
from liftlock.stores.interface import Store
from liftlock.stores.live import Live, Moved, Shape, Straight
from liftlock.stores.postgresql_apply import TAKE_ROLE, PostgresqlTarget
from liftlock.stores.postgresql_connect import Connection, session, snapshot_transaction, translated
from liftlock.stores.postgresql_locks import locked, transaction
from liftlock.stores.postgresql_obstacles import obstacles
from liftlock.stores.postgresql_relations import Relations, read_relations, shapes
from liftlock.stores.postgresql_stream import copy_database
from liftlock.stores.postgresql_transfer import Pace, transfer
from liftlock.stores.postgresql_view import READ_BY_KEY, PostgresqlView, Token, array, count_log, read_log

_PATIENCE = 60.0  # seconds for locks where the caller names none
_WORTH_VACUUM = 10_000  # consumed entries; the room of fewer is left to autovacuum


class PostgresqlLive:
    """See `stores.live.Live` for what each method promises."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._uri = store.uri
        # One connection is kept between calls: making one takes longer than most of what a hold does with it.
        self._idle: list[tuple[ExitStack, Connection]] = []
        self._pace = Pace()

    def obstacles(self, *, applying: bool) -> tuple[str, ...]:
        """Rights, kinds of tables, read-only servers, poolers, subscriptions."""
        return obstacles(self._uri, applying=applying)

    def shapes(self) -> dict[str, Shape]:
        """All tables but Alembic's version tables and ours. Defaults that are not constant are left out."""
        with self._session() as connection, snapshot_transaction(connection):
            return shapes(connection, read_relations(connection))

    def capture(self, *, patience: float = 20.0) -> None:
        """Put triggers on one table after the other, each in short tries."""
        if self.captured():
            return
        if found := self.obstacles(applying=False):
            raise StoreError(f"changes cannot be captured: {found[0]}")
        with self._session() as connection:
            capture.install(connection, patience)

    def captured(self) -> bool:
        """Whether a complete capture of the present schema is in place."""
        with self._session() as connection, snapshot_transaction(connection):
            return capture.captured(connection, read_relations(connection))

    def backlog(self) -> int:
        """Log entries not consumed yet; none where nothing is captured."""
        with self._session() as connection, snapshot_transaction(connection):
            return sum(count_log(connection, capture.with_log(connection, read_relations(connection))).values())

    @contextmanager
    def changes(self, limit: int | None = None) -> Iterator[PostgresqlView]:
        """One view of log and rows, in one REPEATABLE READ transaction."""
        with self._session() as connection, snapshot_transaction(connection):
            yield self._view(connection, read_relations(connection), limit)

    @contextmanager
    def look(self) -> Iterator[PostgresqlView]:
        """One view of rows and log, whatever became of the schema."""
        with self._session() as connection, snapshot_transaction(connection):
            connection.execute(READ_BY_KEY)
            relations = read_relations(connection)
            yield read_log(connection, self._uri, relations, capture.with_log(connection, relations))

    def consume(self, token: Token) -> None:
        """Delete exactly these entries. One that was moved meanwhile (VACUUM FULL) stays, and is applied again."""
        with self._session() as connection:
            with side_effect("consume log"), transaction(connection):
                # Entries are found by their place, never by reading the log.
                connection.execute("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
                for oid, (places, makers) in token.items():
                    connection.execute(
                        sql.SQL(
                            "DELETE FROM {} AS l USING unnest(%s::tid[], %s::xid[]) AS u(place, maker)"
                            " WHERE l.ctid = u.place AND l.xmin = u.maker"
                        ).format(_log(oid)),
                        (array(places), array(makers)),
                        prepare=False,
                    )
            for oid, (places, _) in token.items():
                if len(places) >= _WORTH_VACUUM:
                    connection.execute(sql.SQL("VACUUM (TRUNCATE off) {}").format(_log(oid)))

    def transfer(self, sink: Live, tables: Sequence[Straight], *, view: float, seconds: float) -> Moved:
        """Changed rows by sets, streamed from server to server."""
        return transfer(self._uri, sink.store.uri, tables, self._pace, view=view, seconds=seconds)

    @contextmanager
    def fence(self, label: str, *, seconds: float, patience: float) -> Iterator[PostgresqlView]:
        """Lock all tables against writers, put the fence up and read the rest of the log, in one transaction."""
        with (
            self._session() as connection,
            side_effect("fence"),
            self._writers_locked_out(connection, patience) as relations,
        ):
            # A frozen orchestrator must not keep writers waiting for our locks longer than for the fence.
            connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {int(seconds * 1000)}".encode())
            fence.set_fence(connection, label, fence.moment(connection, seconds))
            yield self._view(connection, relations, None)

    def fence_for_good(self, label: str) -> None:
        """Replace the fence's end; where it has fallen, writers are locked out first as by `fence`."""
        with self._session() as connection:
            if self._stands(connection):
                with side_effect("fence for good"), transaction(connection):
                    unbroken = fence.fence_until(connection) is not None
                    fence.set_fence(connection, label, fence.FOR_GOOD)
                if unbroken:
                    return
            with side_effect("fence for good"), self._writers_locked_out(connection, _PATIENCE):
                fence.set_fence(connection, label, fence.FOR_GOOD)

    def unfence(self) -> None:
        """Let everybody write. The triggers stay, without effect, until `release`: nobody waits for this."""
        with self._session() as connection:
            if capture.has_schema(connection):
                with side_effect("unfence"), transaction(connection):
                    fence.set_fence(connection, "", fence.DOWN)

    def fenced(self) -> bool:
        """Whether a fence stands now, on all tables."""
        with self._session() as connection:
            return self._stands(connection)

    @contextmanager
    def applying(self) -> Iterator[PostgresqlTarget]:
        """A transaction in replica role."""
        with self._session() as connection, side_effect("apply rows"), transaction(connection):
            connection.execute(TAKE_ROLE)
            connection.execute(READ_BY_KEY)
            yield PostgresqlTarget(connection, self._uri, read_relations(connection))

    def copy_to(self, target: Store, *, observer: Observer = silent) -> None:
        """Stream everything into a new database beside this one, from one snapshot."""
        copy_database(self._uri, target.uri, observer)

    def sequences(self) -> dict[str, int]:
        """Sequence (`schema.name`) -> the last value given out; those that never gave one are left out."""
        with self._session() as connection, snapshot_transaction(connection):
            return {name: last for name, (last, called) in catalog.sequences(connection).items() if called}

    def advance(self, values: Mapping[str, int]) -> None:
        """Move sequences forward, never back."""
        with self._session() as connection, side_effect("advance sequences"):
            for name, (last, called) in catalog.sequences(connection).items():
                if name in values and (values[name] > last or (not called and values[name] == last)):
                    connection.execute("SELECT pg_catalog.setval(%s::regclass, %s, true)", (name, values[name]))

    def release(self) -> None:
        """Let writers through at once, then remove everything in short tries."""
        self.unfence()
        with self._session() as connection:
            capture.remove(connection, _PATIENCE)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        """A session with settled settings, kept for the next call unless this one failed."""
        stack, connection = self._kept() or self._opened()
        try:
            with translated(self._uri):
                yield connection
        except BaseException:
            stack.close()
            raise
        if self._idle or connection.info.transaction_status is not TransactionStatus.IDLE:
            stack.close()
        else:
            self._idle.append((stack, connection))

    def _kept(self) -> tuple[ExitStack, Connection] | None:
        while self._idle:
            stack, connection = self._idle.pop()
            try:
                connection.execute("SELECT 1")
            except psycopg.Error:  # the server went away meanwhile
                stack.close()
                continue
            return stack, connection
        return None

    def _opened(self) -> tuple[ExitStack, Connection]:
        stack = ExitStack()
        return stack, stack.enter_context(session(self._uri))

    def _view(self, connection: Connection, relations: Relations, limit: int | None) -> PostgresqlView:
        if not capture.captured(connection, relations):
            raise StoreError(
                "nothing is captured here, or the schema is no longer the one that was captured",
                hint="Somebody changed tables or triggers. Begin the upgrade anew.",
            )
        connection.execute(READ_BY_KEY)
        return read_log(connection, self._uri, relations, capture.logged(relations), limit)

    @contextmanager
    def _writers_locked_out(self, connection: Connection, patience: float) -> Iterator[Relations]:
        """A transaction in which nobody else is writing and every table has the fence's trigger."""
        capture.ensure_schema(connection)
        wanted = read_relations(connection)
        lock = locked(
            connection, wanted.values(), "SHARE ROW EXCLUSIVE", patience=patience, isolation="REPEATABLE READ"
        )
        with lock:
            relations = read_relations(connection)
            if relations.keys() != wanted.keys():
                raise StoreError("tables were made or dropped meanwhile", hint="Try again.", retryable=True)
            for relation in relations.values():
                if fence.FENCE not in relation.triggers:
                    fence.add_fence(connection, relation)
            yield relations

    def _stands(self, connection: Connection) -> bool:
        return (
            capture.has_schema(connection)
            and fence.fence_until(connection) is not None
            and all(fence.FENCE in relation.triggers for relation in read_relations(connection).values())
        )


def _log(oid: int) -> sql.Identifier:
    return sql.Identifier(catalog.LIFTLOCK, f"log_{oid}")
