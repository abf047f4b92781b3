"""Where a migration is timed: copies of a SQLite file, or of a PostgreSQL database on a server of this machine."""

import os
import shutil
import time


def place(uri):
    """The kind a store's URI names."""
    return (Postgres if uri.startswith("postgresql") else Sqlite)(uri)


class Sqlite:
    """Copies of a database file."""

    PAUSE = 0.0
    STRENGTH = ("",)

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
    STRENGTH = (
        "",
        "AccessShareLock", "RowShareLock", "RowExclusiveLock", "ShareUpdateExclusiveLock", "ShareLock",
        "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock",
    )  # fmt: skip

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
            "WHERE l.pid = pg_backend_pid() AND l.granted AND c.relkind = 'r' "
            "AND c.relnamespace = 'public'::regnamespace"
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
