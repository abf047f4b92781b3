"""Database URIs as MLflow takes them, with the password kept apart.

MLflow hands these to SQLAlchemy, so `postgresql+psycopg2://` and `sqlite:////absolute` are understood here
the way SQLAlchemy understands them.
"""

from __future__ import annotations

import enum
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from liftlock.errors import UsageError
from liftlock.model.secret import MASK, Secret, remember

# libpq's options that are secrets, wherever in the URI they stand.
SECRET_OPTIONS = ("password", "sslpassword")


class Engine(enum.StrEnum):
    """Kinds of store behind a tracking server."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    MYSQL = "mysql"
    FILE = "file"


class StoreUri:
    """One database URI. `str()` is redacted; `reveal()` gives the full text for a driver or an environment.

    `query` holds values as they are, secrets among them (`SECRET_OPTIONS`): it is for a driver, not for a message.
    """

    __slots__ = ("database", "driver", "engine", "host", "password", "port", "query", "scheme", "username")

    def __init__(
        self,
        *,
        engine: Engine,
        scheme: str,
        database: str,
        driver: str = "",
        username: str = "",
        password: Secret | None = None,
        host: str = "",
        port: int | None = None,
        query: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.engine = engine
        self.scheme = scheme
        self.driver = driver
        self.username = username
        self.password = password
        self.host = host
        self.port = port
        self.database = database
        self.query = query
        for name, value in query:
            if name in SECRET_OPTIONS:
                remember(value)

    @classmethod
    def parse(cls, text: str, *, relative_to: Path | None = None) -> StoreUri:
        """Take a URI apart. A relative SQLite path is made absolute against `relative_to` (the server's cwd).

        Raises UsageError for schemes that are no MLflow store; the message never shows a password.
        """
        text = text.strip()
        parts = urlsplit(text)
        scheme, _, driver = parts.scheme.partition("+")
        base = relative_to or Path.cwd()
        if scheme == "sqlite":
            raw = unquote(text.split("://", 1)[1].split("?", 1)[0]) if "://" in text else ""
            path = raw.removeprefix("/")
            if not path or path == ":memory:":
                raise UsageError("an in-memory SQLite database cannot be upgraded")
            absolute = Path(path) if path.startswith("/") else base / path
            return cls(
                engine=Engine.SQLITE, scheme=parts.scheme, driver=driver, database=str(absolute),
                query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
            )  # fmt: skip
        if scheme in ("", "file"):
            path = unquote(parts.path) if scheme else text
            absolute = Path(path) if path.startswith("/") else base / path
            return cls(engine=Engine.FILE, scheme="file", database=str(absolute))
        kinds = {
            "postgresql": Engine.POSTGRESQL,
            "postgres": Engine.POSTGRESQL,
            "mysql": Engine.MYSQL,
            "mariadb": Engine.MYSQL,
        }
        if scheme not in kinds:
            raise UsageError(
                f"{scheme}:// is not a database liftlock can upgrade",
                hint="liftlock upgrades SQLite and PostgreSQL.",
            )
        try:
            port = parts.port
        except ValueError:
            raise UsageError("the port of the database URI is not a number") from None
        return cls(
            engine=kinds[scheme],
            scheme=parts.scheme,
            driver=driver,
            username=unquote(parts.username or ""),
            password=Secret(unquote(parts.password)) if parts.password else None,
            host=parts.hostname or "",
            port=port,
            database=unquote(parts.path.removeprefix("/")),
            query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        )

    @property
    def path(self) -> Path:
        """The file of a SQLite database or the directory of a file store."""
        if self.engine not in (Engine.SQLITE, Engine.FILE):
            raise UsageError(f"{self} is not a file")
        return Path(self.database)

    def reveal(self) -> str:
        """The full URI with its password, as SQLAlchemy reads it."""
        return self._text(quote(self.password.reveal(), safe="") if self.password else "", self.query)

    def __str__(self) -> str:
        shown = ((name, MASK if name in SECRET_OPTIONS and value else value) for name, value in self.query)
        return self._text(MASK if self.password else "", tuple(shown))

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreUri) and self.reveal() == other.reveal()

    def __hash__(self) -> int:
        return hash(self.reveal())

    def same_place(self, other: StoreUri) -> bool:
        """Whether both name the same database, whatever the driver, user or password."""
        if self.engine is not other.engine:
            return False
        if self.engine in (Engine.SQLITE, Engine.FILE):
            return self.path.resolve() == other.path.resolve()
        return self._where() == other._where()

    def with_database(self, database: str) -> StoreUri:
        """The same server and login, another database (or, for SQLite, another file)."""
        return self._but(database=database, query=self.query)

    def with_options(self, options: str) -> StoreUri:
        """The same PostgreSQL database with further options of the session (`-c name=value ...`)."""
        given = " ".join([*(value for name, value in self.query if name == "options"), options])
        rest = tuple((name, value) for name, value in self.query if name != "options")
        return self._but(database=self.database, query=(*rest, ("options", given)))

    def _but(self, *, database: str, query: tuple[tuple[str, str], ...]) -> StoreUri:
        return StoreUri(
            engine=self.engine, scheme=self.scheme, driver=self.driver, username=self.username,
            password=self.password, host=self.host, port=self.port, database=database, query=query,
        )  # fmt: skip

    def _where(self) -> tuple[str, int, str]:
        options = dict(self.query)
        host = self.host or options.get("host", "")
        port = self.port or int(options.get("port", "0") or 0)
        return (host, port or {Engine.POSTGRESQL: 5432, Engine.MYSQL: 3306}[self.engine], self.database)

    def _text(self, password: str, query: tuple[tuple[str, str], ...]) -> str:
        if self.engine is Engine.SQLITE:
            text = f"{self.scheme}:///{self.database}"
        elif self.engine is Engine.FILE:
            return self.database
        else:
            login = quote(self.username, safe="") + (f":{password}" if password else "")
            host = f"[{self.host}]" if ":" in self.host else self.host
            at = f"{login}@" if login else ""
            port = f":{self.port}" if self.port else ""
            text = f"{self.scheme}://{at}{host}{port}/{quote(self.database, safe='')}"
        if query:
            text += "?" + "&".join(f"{quote(k, safe='')}={quote(v, safe='/*')}" for k, v in query)
        return text
