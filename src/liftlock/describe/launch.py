"""How to start the server of a configuration with a given release: live, or pointed at copies for a rehearsal.

Store URIs travel in the environment, never in arguments, which every user of the machine can read.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.describe import auth, options
from liftlock.describe.config import Config
from liftlock.describe.environment import installed, machine
from liftlock.effects import side_effect
from liftlock.errors import Refused
from liftlock.files import write_atomic
from liftlock.model import shared_schema
from liftlock.model.deployment import Role
from liftlock.model.release import Release
from liftlock.model.secret import remember
from liftlock.model.uri import StoreUri
from liftlock.runtimes.interface import ServerSpec

HOST_CHECK = Release(version="3.5.0")
SECRET_KEY = "MLFLOW_FLASK_SERVER_SECRET_KEY"  # noqa: S105 - the name of a variable
_SECRET_KEY_FILE = "flask-secret-key"  # noqa: S105 - the name of a file
ALLOWED_HOSTS = "MLFLOW_SERVER_ALLOWED_HOSTS"
ALLOWED_ORIGINS = "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"
# Further places a server on a copy must not touch: a replica or workspace store of the live database, archives.
LIVE_STATE = {
    "--read-replica-backend-store-uri": "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "--workspace-store-uri": "MLFLOW_WORKSPACE_STORE_URI",
    "--trace-archival-config": "MLFLOW_TRACE_ARCHIVAL_CONFIG",
}
# What MLflow >= 3.5 allows by itself; naming any host replaces this list, so it is repeated
# (get_default_allowed_hosts in mlflow/server/security_utils.py of 3.17.2).
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "0.0.0.0")  # noqa: S104 - a name to accept, not an address to bind
_PRIVATE_HOSTS = ("192.168.*", "10.*", *(f"172.{i}.*" for i in range(16, 32)), "fc00:*", "fd00:*")


@dataclass(frozen=True)
class Overrides:
    """What differs from the live server: other databases, another artifact destination, other variables.

    `directory` is a private one where a generated basic-auth configuration may be written; it is required
    when `stores` names the auth database.
    """

    stores: Mapping[Role, StoreUri] = field(default_factory=dict)
    artifacts_destination: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


def server_spec(
    config: Config,
    *,
    python: Path,
    release: Release,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    overrides: Overrides | None = None,
    help_text: str | None = None,
) -> ServerSpec:
    """The complete way to start `release` (in the environment of `python`) as the configured server.

    `arguments` of the result are all words after `mlflow server`, host and port included. With `help_text`, the
    text of the release's own `mlflow server --help`, options it does not know are refused before it is tried.
    Raises Refused for such options, UsageError for missing secrets, ServerError for unreadable auth settings.
    """
    overrides = overrides or Overrides()
    words = _words(config, overrides)
    bind_host, bind_port = host or config.server.host, port or config.server.port
    arguments = ["--host", bind_host, "--port", str(bind_port)]
    if (count := workers or config.server.workers) is not None:
        arguments += ["--workers", str(count)]
    if config.server.app_name:
        arguments += ["--app-name", config.server.app_name]
    arguments += words
    if help_text is not None and (strange := options.unknown(arguments, help_text)):
        raise Refused(
            f"MLflow {release} does not know {', '.join(strange)}",
            hint="Remove it from server.arguments in liftlock.toml.",
        )
    environment = {**machine(), **config.environment(), **_store_variables(config, overrides)}
    if release != config.release:
        environment = shared_schema.without(environment)  # it is the recorded release's alone
    if config.server.app_name == auth.APP:
        environment |= _auth_variables(config, environment, overrides)
    if release >= HOST_CHECK:
        environment |= host_variables(config.server.public_names, options.parse(words, environment))
    if Role.TRACKING in overrides.stores:
        for variable in LIVE_STATE.values():
            environment.pop(variable, None)
    environment.update(overrides.environment)
    return ServerSpec(
        python=python,
        arguments=tuple(arguments),
        environment=environment,
        working_directory=config.working_directory,
        host=bind_host,
        port=bind_port,
        static_prefix=options.parse(words, environment).get("--static-prefix") or "",
    )


def host_variables(public_names: tuple[str, ...], given: options.ServerOptions) -> dict[str, str]:
    """Variables that make MLflow >= 3.5 accept the public names, its own defaults kept.

    Empty when there are no public names. A list that the operator gave stays as it is.
    Variables, because the flags are refused together with `--gunicorn-opts` (3.17.2, `_validate_server_args`).
    """
    if not public_names or given.is_on("--disable-security-middleware", default=False):
        return {}
    result: dict[str, str] = {}
    if given.get("--allowed-hosts") is None:
        local = [name.replace("[", "[[]") + ":*" for name in _LOCAL_HOSTS]
        public = [entry for name in public_names for entry in (name, f"{name}:*")]
        result[ALLOWED_HOSTS] = ",".join([*_LOCAL_HOSTS, *local, *_PRIVATE_HOSTS, *public])
    if given.get("--cors-allowed-origins") is None:
        # The UI itself sends `Origin: https://<public name>` with every change it makes.
        origins = [
            f"{scheme}://{name}{port}" for name in public_names for scheme in ("https", "http") for port in ("", ":*")
        ]
        result[ALLOWED_ORIGINS] = ",".join(origins)
    return result


def _words(config: Config, overrides: Overrides) -> tuple[str, ...]:
    """The server's own arguments, with nothing live left in them where `overrides` says so."""
    words = config.arguments()
    if Role.TRACKING in overrides.stores:
        words = options.without(words, *LIVE_STATE)
    if overrides.artifacts_destination is not None:
        given = options.parse(words, config.server.environment)
        words = options.without(words, "--artifacts-destination", "--default-artifact-root")
        words += ("--artifacts-destination", overrides.artifacts_destination)
        root = given.get("--default-artifact-root")
        if root is None and given.is_on("--serve-artifacts", default=True):
            return words
        proxied = root is not None and root.startswith("mlflow-artifacts:")
        # Given last and on the command line, so that it wins over a variable too.
        words += ("--default-artifact-root", root if root and proxied else overrides.artifacts_destination)
    return words


def _store_variables(config: Config, overrides: Overrides) -> dict[str, str]:
    tracking = overrides.stores.get(Role.TRACKING) or config.store_uri(Role.TRACKING)
    variables = {options.VARIABLES["--backend-store-uri"]: tracking.reveal()}
    registry = overrides.stores.get(Role.REGISTRY)
    if registry is None and Role.REGISTRY in config.roles():
        registry = config.store_uri(Role.REGISTRY)
    if registry is not None:
        variables[options.VARIABLES["--registry-store-uri"]] = registry.reveal()
    return variables


def _auth_variables(config: Config, environment: Mapping[str, str], overrides: Overrides) -> dict[str, str]:
    """The ini to read and the key that protects forms: newer releases refuse to start without a static one."""
    variables: dict[str, str] = {}
    if not environment.get(SECRET_KEY):
        variables[SECRET_KEY] = _secret_key(config)
    package = Path() if environment.get(auth.PATH_VARIABLE) else installed(config.python).package
    path = auth.locate(environment, config.working_directory, package)
    other = overrides.stores.get(Role.AUTH)
    if other is None:
        variables[auth.PATH_VARIABLE] = str(path)
    elif overrides.directory is None:
        raise ValueError("another auth database needs a directory for its configuration")
    else:
        variables[auth.PATH_VARIABLE] = str(auth.write_copy(auth.read(path), overrides.directory, other))
    return variables


def _secret_key(config: Config) -> str:
    """One key per deployment, made once: all releases and workers must share it."""
    path = config.ensure_state() / _SECRET_KEY_FILE
    if not path.exists():
        with side_effect("write flask secret key"):
            write_atomic(path, secrets.token_urlsafe(32))
    key = path.read_text(encoding="utf-8")
    remember(key)
    return key
