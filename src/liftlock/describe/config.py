"""liftlock.toml: what a person says about the deployment. Strict: an unknown key is an error, never ignored.

The values held here are the text of the file; `${NAME}` is replaced only when a value is asked for, so that a
configuration can be saved again without a secret in it.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from liftlock.describe import secrets
from liftlock.describe.sections import EnvironmentsSection, NotifySection, TrackingSection, WatchSection
from liftlock.effects import side_effect
from liftlock.errors import UsageError
from liftlock.files import private_directory, write_atomic
from liftlock.model.codec import Value, from_builtins, to_builtins
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.secret import Secret
from liftlock.model.uri import StoreUri

FILE = "liftlock.toml"
STATE = ".liftlock"
FORMAT = 1
RUNTIMES = ("process",)


class ServerSection(Value, frozen=True):
    """How the tracking server is run. `arguments` follow `mlflow server` (host, port, workers, stores, app apart).

    `slot` names which of liftlock's places for a running server is the live one: an online upgrade runs two servers
    side by side, and afterwards the other place is live. Empty where there was none.
    """

    release: str
    python: str
    working_directory: str
    runtime: str = "process"
    host: str = "127.0.0.1"
    port: int = 5000
    workers: int | None = None
    app_name: str | None = None
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = msgspec.field(default_factory=dict)
    public_names: tuple[str, ...] = ()
    slot: str = ""


class StoresSection(Value, frozen=True):
    """Database URIs as MLflow takes them, with `${NAME}` for passwords."""

    tracking: str
    registry: str | None = None
    auth: str | None = None


class ArtifactsSection(Value, frozen=True):
    """Directories (or object store URIs) that hold artifacts."""

    roots: tuple[str, ...] = ()


class CredentialsSection(Value, frozen=True):
    """The login liftlock itself uses when it verifies a server with basic-auth."""

    username: str
    password: str


class BackupSection(Value, frozen=True):
    """Where backup sets go (relative to the file) and how many are kept."""

    directory: str = "liftlock-backups"
    keep_last: int = 5
    keep_days: int = 30


class Config(Value, frozen=True):
    """One liftlock.toml. `path` is the file it was read from or will be written to, absolute."""

    path: Path
    name: str
    server: ServerSection
    stores: StoresSection
    artifacts: ArtifactsSection = msgspec.field(default_factory=ArtifactsSection)
    credentials_section: CredentialsSection | None = None
    backup: BackupSection = msgspec.field(default_factory=BackupSection)
    tracking: TrackingSection | None = None
    environments: EnvironmentsSection | None = None
    notify: NotifySection | None = None
    watch: WatchSection = msgspec.field(default_factory=WatchSection)

    @property
    def directory(self) -> Path:
        """The directory of liftlock.toml."""
        return self.path.parent

    @property
    def state_directory(self) -> Path:
        """The private directory beside the file where liftlock keeps its own state; `ensure_state` makes it."""
        return self.directory / STATE

    @property
    def backup_directory(self) -> Path:
        """Where backup sets go, absolute."""
        return self.directory / Path(self.backup.directory).expanduser()

    @property
    def release(self) -> Release:
        """The release that is said to run."""
        return Release.parse(self.server.release)

    @property
    def python(self) -> Path:
        """The interpreter of the environment the server runs in, absolute (never resolved: venvs are symlinks)."""
        return self.directory / self.server.python

    @property
    def working_directory(self) -> Path:
        """The server's working directory, absolute."""
        return self.directory / self.server.working_directory

    def ensure_state(self) -> Path:
        """Make the state directory (0700) and return it."""
        with side_effect("make state directory"):
            return private_directory(self.state_directory)

    def roles(self) -> tuple[Role, ...]:
        """The databases named, tracking first; a registry store in the same place as tracking is not one more."""
        found = [Role.TRACKING]
        if self.stores.registry and not self.store_uri(Role.REGISTRY).same_place(self.store_uri(Role.TRACKING)):
            found.append(Role.REGISTRY)
        if self.stores.auth:
            found.append(Role.AUTH)
        return tuple(found)

    def store_uri(self, role: Role) -> StoreUri:
        """The URI of one database, with its password. Raises UsageError when none is named or a secret is missing."""
        text = {
            Role.TRACKING: self.stores.tracking,
            Role.REGISTRY: self.stores.registry,
            Role.AUTH: self.stores.auth,
        }[role]
        if not text:
            raise UsageError(f"{self.path}: stores.{role} is not set")
        find = secrets.lookup(self.state_directory)
        full = secrets.expand_uri(text, find, where=f"{self.path}: stores.{role}")
        return StoreUri.parse(full, relative_to=self.working_directory)

    def environment(self) -> dict[str, str]:
        """The server's own environment variables, expanded. Raises UsageError when a secret is missing."""
        find = secrets.lookup(self.state_directory)
        where = f"{self.path}: server.environment"
        return {
            name: secrets.expand(value, find, where=f"{where}.{name}")
            for name, value in self.server.environment.items()
        }

    def arguments(self) -> tuple[str, ...]:
        """The server's own arguments, expanded. Raises UsageError when a secret is missing."""
        find = secrets.lookup(self.state_directory)
        where = f"{self.path}: server.arguments"
        return tuple(secrets.expand_uri(word, find, where=where) for word in self.server.arguments)

    def credentials(self) -> tuple[str, Secret] | None:
        """The login for verification, or None. Raises UsageError when the password's secret is missing."""
        if self.credentials_section is None:
            return None
        find = secrets.lookup(self.state_directory)
        where = f"{self.path}: credentials"
        return (
            secrets.expand(self.credentials_section.username, find, where=where),
            Secret(secrets.expand(self.credentials_section.password, find, where=where)),
        )

    def dumps(self) -> str:
        """The configuration as the text of a liftlock.toml, without secrets."""
        import tomlkit  # only writing needs it, and reading must be quick

        document = tomlkit.document()
        document.add(tomlkit.comment("What liftlock knows of this MLflow. Secrets are in .liftlock/secrets.env."))
        document.add("format", tomlkit.item(FORMAT))
        document.add("name", tomlkit.item(self.name))
        for section, value in self._sections().items():
            table = tomlkit.table()
            for key, entry in to_builtins(value).items():
                if entry is None or entry in ([], {}, ""):
                    continue
                item = tomlkit.item(entry)
                if isinstance(entry, list) and len(str(entry)) > 90:
                    item.multiline(True)
                table.add(key, item)
            document.add(section, table)
        return tomlkit.dumps(document)

    def save(self, path: Path | None = None) -> None:
        """Write the file atomically, readable by its owner. Raises UsageError when it cannot be written."""
        target = path or self.path
        try:
            with side_effect("write configuration"):
                target.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(target, self.dumps())
        except OSError as error:
            raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error

    def _sections(self) -> dict[str, Value]:
        sections: dict[str, Value] = {"server": self.server, "stores": self.stores, "artifacts": self.artifacts}
        if self.credentials_section is not None:
            sections["credentials"] = self.credentials_section
        sections["backup"] = self.backup
        around = {
            "tracking": self.tracking, "environments": self.environments, "notify": self.notify,
            "watch": self.watch if self.watch != WatchSection() else None,
        }  # fmt: skip
        return sections | {name: value for name, value in around.items() if value is not None}


_SECTIONS: dict[str, type[Value]] = {
    "server": ServerSection,
    "stores": StoresSection,
    "artifacts": ArtifactsSection,
    "credentials": CredentialsSection,
    "backup": BackupSection,
    "tracking": TrackingSection,
    "environments": EnvironmentsSection,
    "notify": NotifySection,
    "watch": WatchSection,
}


def find(start: Path | None = None) -> Path:
    """The configuration to use: LIFTLOCK_CONFIG, else `liftlock.toml` in `start` (default: the working directory).

    Raises UsageError when there is none.
    """
    if named := os.environ.get("LIFTLOCK_CONFIG"):
        path = Path(named).expanduser()
        if not path.is_file():
            raise UsageError(f"LIFTLOCK_CONFIG names {path}, which is not a file")
        return path.absolute()
    path = (start or Path.cwd()) / FILE
    if not path.is_file():
        raise UsageError(
            f"there is no {FILE} in {path.parent}",
            hint="Run `liftlock init` there, or name the file with --config or LIFTLOCK_CONFIG.",
        )
    return path.absolute()


def load(path: Path) -> Config:
    """Read and check a configuration. Raises UsageError with file and line for anything that does not fit."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return loads(text, path.absolute())


def loads(text: str, path: Path) -> Config:
    """Like `load`, for text that stands (or will stand) in `path`."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from None
    place = _Places(text, path)
    if data.get("format") != FORMAT:
        raise UsageError(
            f"{place('format')}: format must be {FORMAT}, it is {data.get('format', 'missing')}",
            hint="A newer format needs a newer liftlock.",
        )
    _reject_unknown(data, {"format", "name", *_SECTIONS}, (), place)
    name = data.get("name")
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{place('name')}: name must be a text that is not empty")
    sections: dict[str, Any] = {}
    for key, kind in _SECTIONS.items():
        if key not in data:
            if key in ("server", "stores"):
                raise UsageError(f"{path}: section [{key}] is missing", hint="`liftlock init` writes a whole file.")
            continue
        table = data[key]
        if not isinstance(table, dict):
            raise UsageError(f"{place(key)}: {key} must be a section, written [{key}]")
        _reject_unknown(table, set(kind.__struct_fields__), (key,), place)
        try:
            sections[key] = from_builtins(table, kind)
        except msgspec.ValidationError as error:
            message, _, where = str(error).partition(" - at `$")
            field = where.strip("`.").split("[")[0].split(".")[0]
            raise UsageError(f"{place(key, field)}: {key}{'.' + field if field else ''}: {message}") from None
    config = Config(
        path=path,
        name=name,
        server=sections["server"],
        stores=sections["stores"],
        artifacts=sections.get("artifacts", ArtifactsSection()),
        credentials_section=sections.get("credentials"),
        backup=sections.get("backup", BackupSection()),
        tracking=sections.get("tracking"),
        environments=sections.get("environments"),
        notify=sections.get("notify"),
        watch=sections.get("watch", WatchSection()),
    )
    _check_values(config, place)
    return config


def _check_values(config: Config, place: _Places) -> None:
    server, backup, watch = config.server, config.backup, config.watch
    try:
        Release.parse(server.release)
    except UsageError as error:
        raise UsageError(f"{place('server', 'release')}: {error.message}", hint=error.hint) from None
    rules = (
        (server.runtime in RUNTIMES, "server", "runtime", f"must be one of: {', '.join(RUNTIMES)}"),
        (1 <= server.port <= 65535, "server", "port", "must be between 1 and 65535"),
        (server.workers is None or server.workers >= 1, "server", "workers", "must be at least 1"),
        (bool(server.host.strip()), "server", "host", "must not be empty"),
        (bool(server.python.strip()), "server", "python", "must not be empty"),
        (not server.slot or server.slot.isalnum(), "server", "slot", "must be letters and digits"),
        (bool(config.stores.tracking.strip()), "stores", "tracking", "must not be empty"),
        (backup.keep_last >= 1, "backup", "keep_last", "must be at least 1"),
        (backup.keep_days >= 0, "backup", "keep_days", "must not be negative"),
        (bool(backup.directory.strip()), "backup", "directory", "must not be empty"),
        (0 < watch.warn <= watch.act, "watch", "act", "must not be less than watch.warn, nor that less than 0"),
        (0 < watch.errors_warn <= watch.errors_act, "watch", "errors_act", "must not be less than watch.errors_warn"),
        (
            0 < watch.registrations_act <= watch.registrations_warn <= 1,
            "watch",
            "registrations_act",
            "must not be more than watch.registrations_warn, nor that more than 1",
        ),
        (watch.settle >= 0 and watch.window > 0, "watch", "window", "must be more than 0"),
        (watch.breaches >= 1, "watch", "breaches", "must be at least 1"),
    )
    for holds, section, key, rule in rules:
        if not holds:
            raise UsageError(f"{place(section, key)}: {section}.{key} {rule}")


def _reject_unknown(table: dict[str, Any], known: set[str], above: tuple[str, ...], place: _Places) -> None:
    for key in table:
        if key not in known:
            dotted = ".".join((*above, key))
            raise UsageError(
                f"{place(*above, key)}: unknown key {dotted}", hint=f"Known here: {', '.join(sorted(known))}."
            )


class _Places:
    """File and line of a key, for messages: `liftlock.toml:12`. Without the line where it cannot be told."""

    def __init__(self, text: str, path: Path) -> None:
        self._lines = text.splitlines()
        self._path = path

    def __call__(self, *keys: str) -> str:
        section = keys[0] if len(keys) > 1 else ""
        current = ""
        for number, line in enumerate(self._lines, start=1):
            stripped = line.strip()
            if stripped.startswith("["):
                current = stripped.strip("[]").split("]")[0].strip()
                if len(keys) == 1 and current == keys[0]:
                    return f"{self._path}:{number}"
                continue
            name = stripped.split("=", 1)[0].strip().strip("\"'")
            if current == section and name == keys[-1] and "=" in stripped:
                return f"{self._path}:{number}"
        return str(self._path)
