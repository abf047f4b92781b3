"""From an observed server to a configuration: passwords go to the secrets file, `${NAME}` takes their place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from liftlock.describe import auth, options
from liftlock.describe import secrets as secrets_file
from liftlock.describe.config import (
    ArtifactsSection,
    BackupSection,
    Config,
    CredentialsSection,
    ServerSection,
    StoresSection,
)
from liftlock.describe.process import Observed
from liftlock.effects import side_effect
from liftlock.files import private_directory, write_atomic
from liftlock.model.deployment import Role
from liftlock.model.uri import StoreUri

# Names of our own: `${NAME}` is looked up in the operator's environment first, where MLFLOW_TRACKING_PASSWORD or
# AWS_SECRET_ACCESS_KEY may stand for something else than what the server was started with.
_PREFIX = "LIFTLOCK_"
_LOGIN = re.compile(r"(?P<before>://[^/@:\s]*:)(?P<secret>[^@/\s]+)(?=@)")
_QUERY = re.compile(r"(?P<before>[?&](?:password|sslpassword)=)(?P<secret>[^&\s]+)")


@dataclass(frozen=True, repr=False)
class Draft:
    """What `init` will write: the configuration, values for the secrets file, private files beside it."""

    config: Config
    secrets: Mapping[str, str]
    files: Mapping[Path, str]

    def write(self) -> None:
        """Write it all, the configuration last: with it everything it refers to exists."""
        state = self.config.ensure_state()
        for path, text in self.files.items():
            with side_effect("write auth configuration"):
                private_directory(path.parent)
                write_atomic(path, text)
        secrets_file.write(state, self.secrets)
        self.config.save()


def to_config(observed: Observed, path: Path, *, name: str = "", public_names: tuple[str, ...] = ()) -> Draft:
    """The configuration of an observed server, to be written to `path`. Nothing is written yet."""
    found: dict[str, str] = {}
    files: dict[Path, str] = {}
    environment = _environment(observed, found)
    state = path.absolute().parent / ".liftlock"
    if observed.auth is not None and auth.PATH_VARIABLE not in environment:
        # The file inside the package stays behind with the old environment; its settings must not.
        copy = state / "basic_auth.ini"
        files[copy] = observed.auth.text()
        environment[auth.PATH_VARIABLE] = str(copy)
    stores = {role: _uri(uri, f"{_PREFIX}{role.upper()}_PASSWORD", found) for role, uri in observed.stores.items()}
    credentials = None
    if observed.login is not None:
        found[f"{_PREFIX}ADMIN_PASSWORD"] = observed.login[1].reveal()
        credentials = CredentialsSection(username=observed.login[0], password=f"${{{_PREFIX}ADMIN_PASSWORD}}")
    config = Config(
        path=path.absolute(),
        name=name or observed.working_directory.name or "mlflow",
        server=ServerSection(
            release=observed.release.version,
            python=str(observed.python),
            working_directory=str(observed.working_directory),
            host=observed.host,
            port=observed.port,
            workers=observed.workers,
            app_name=observed.app_name,
            arguments=_arguments(observed, found),
            environment=environment,
            public_names=public_names,
        ),
        stores=StoresSection(
            tracking=stores[Role.TRACKING], registry=stores.get(Role.REGISTRY), auth=stores.get(Role.AUTH)
        ),
        artifacts=ArtifactsSection(roots=tuple(entry.uri for entry in observed.artifacts)),
        credentials_section=credentials,
        backup=BackupSection(),
    )
    return Draft(config=config, secrets=found, files=files)


def _uri(uri: StoreUri, name: str, found: dict[str, str]) -> str:
    text = uri.reveal()
    if uri.password:
        found[name] = uri.password.reveal()
        text = text.replace(f":{quote(uri.password.reveal(), safe='')}@", f":${{{name}}}@", 1)
    return _hide(text, name, found)


def _arguments(observed: Observed, found: dict[str, str]) -> tuple[str, ...]:
    return tuple(
        _hide(word, f"{_PREFIX}ARGUMENT_{number}_PASSWORD", found)
        for number, word in enumerate(observed.options.kept, start=1)
    )


def _hide(text: str, name: str, found: dict[str, str]) -> str:
    """The text with passwords inside URIs replaced by references."""

    def move(match: re.Match[str]) -> str:
        value = match["secret"]
        if secrets_file.references(value):
            return match[0]
        key = name
        while key in found and found[key] != unquote(value):
            key += "_2"
        found[key] = unquote(value)
        return f"{match['before']}${{{key}}}"

    return _QUERY.sub(move, _LOGIN.sub(move, text))


def _environment(observed: Observed, found: dict[str, str]) -> dict[str, str]:
    """The server's variables that no field of the configuration stands for, secrets moved away."""
    fields = {options.VARIABLES[option] for option in options.OWN_FIELDS if option in options.VARIABLES}
    result: dict[str, str] = {}
    for name, value in observed.environment.items():
        if name in fields:
            continue
        # A path is no secret (GOOGLE_APPLICATION_CREDENTIALS names a file); a URI may hold one.
        secret = secrets_file.is_secret_name(name) and not value.startswith("/")
        if value and (secret or _LOGIN.search(value) or _QUERY.search(value)):
            key = f"{_PREFIX}SERVER_{name}"
            found[key] = value
            value = f"${{{key}}}"
        result[name] = value
    return result
