"""MLflow's basic-auth settings: the ini file, where it is found, and private copies that point elsewhere."""

from __future__ import annotations

import configparser
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from liftlock.effects import side_effect
from liftlock.errors import ServerError
from liftlock.files import private_directory, write_atomic
from liftlock.model.secret import Secret, remember
from liftlock.model.uri import StoreUri

APP = "basic-auth"
PATH_VARIABLE = "MLFLOW_AUTH_CONFIG_PATH"
PACKAGED = Path("server") / "auth" / "basic_auth.ini"
_SECTION = "mlflow"


@dataclass(frozen=True, repr=False)
class AuthSettings:
    """One basic_auth.ini: where it was read, and its `[mlflow]` section (it holds passwords: never printed)."""

    path: Path
    values: Mapping[str, str]

    @property
    def database_uri(self) -> str:
        """The URI of the auth database as written; a relative SQLite path is relative to the server's cwd."""
        return self.values["database_uri"]

    @property
    def admin(self) -> tuple[str, Secret] | None:
        """The configured first administrator, or None. The password may have been changed since."""
        name, password = self.values.get("admin_username"), self.values.get("admin_password")
        return (name, Secret(password)) if name and password else None

    def text(self, database_uri: StoreUri | None = None) -> str:
        """The settings as an ini file, with another database if one is given."""
        values = dict(self.values)
        if database_uri is not None:
            values["database_uri"] = database_uri.reveal()
            # A replica of the live database must not be read by a server that works on a copy.
            values.pop("read_database_uri", None)
        parser = configparser.ConfigParser()
        parser[_SECTION] = {key: value.replace("%", "%%") for key, value in values.items()}
        stream = io.StringIO()
        parser.write(stream)
        return stream.getvalue()


def locate(environment: Mapping[str, str], working_directory: Path, package: Path) -> Path:
    """The ini a server reads: MLFLOW_AUTH_CONFIG_PATH, else the one inside its own `mlflow` package."""
    if named := environment.get(PATH_VARIABLE):
        return working_directory / named
    return package / PACKAGED


def read(path: Path) -> AuthSettings:
    """Read an ini as MLflow does (with interpolation). Raises ServerError when it cannot be used."""
    parser = configparser.ConfigParser()
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
        values = dict(parser[_SECTION])
    except (OSError, configparser.Error, KeyError, UnicodeDecodeError) as error:
        raise ServerError(f"the basic-auth configuration {path} cannot be read: {type(error).__name__}") from error
    if not values.get("database_uri"):
        raise ServerError(f"the basic-auth configuration {path} names no database_uri")
    if password := values.get("admin_password"):
        remember(password)
    return AuthSettings(path=path, values=values)


def write_copy(settings: AuthSettings, directory: Path, database_uri: StoreUri) -> Path:
    """Write a private copy (0600) that points to another database, and return its path."""
    with side_effect("write auth configuration"):
        private_directory(directory)
        path = directory / "basic_auth.ini"
        write_atomic(path, settings.text(database_uri))
    return path
