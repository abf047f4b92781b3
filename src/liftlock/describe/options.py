"""The words after `mlflow server`: taken apart the way click does, with the variables and defaults MLflow declares.

Facts read in mlflow/cli.py and mlflow/utils/cli_args.py of 2.9.2 and 3.17.2: no flag was removed between them, the
variables are the same, and options cannot be abbreviated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from liftlock.model.release import Release

_SHORT = {"-h": "--host", "-p": "--port", "-w": "--workers"}
_FLAGS = {
    "--serve-artifacts": ("--serve-artifacts", "true"),
    "--no-serve-artifacts": ("--serve-artifacts", "false"),
    "--artifacts-only": ("--artifacts-only", "true"),
    "--artifacts-presigned-only": ("--artifacts-presigned-only", "true"),
    "--dev": ("--dev", "true"),
    "--disable-security-middleware": ("--disable-security-middleware", "true"),
    "--enable-workspaces": ("--enable-workspaces", "true"),
    "--disable-workspaces": ("--enable-workspaces", "false"),
}
VARIABLES = {
    "--backend-store-uri": "MLFLOW_BACKEND_STORE_URI",
    "--registry-store-uri": "MLFLOW_REGISTRY_STORE_URI",
    "--default-artifact-root": "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "--artifacts-destination": "MLFLOW_ARTIFACTS_DESTINATION",
    "--serve-artifacts": "MLFLOW_SERVE_ARTIFACTS",
    "--artifacts-only": "MLFLOW_ARTIFACTS_ONLY",
    "--host": "MLFLOW_HOST",
    "--port": "MLFLOW_PORT",
    "--workers": "MLFLOW_WORKERS",
    "--static-prefix": "MLFLOW_STATIC_PREFIX",
    "--gunicorn-opts": "MLFLOW_GUNICORN_OPTS",
    "--uvicorn-opts": "MLFLOW_UVICORN_OPTS",
    "--allowed-hosts": "MLFLOW_SERVER_ALLOWED_HOSTS",
    "--cors-allowed-origins": "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "--disable-security-middleware": "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
}
# These have fields of their own in liftlock.toml; everything else stays in `arguments`.
OWN_FIELDS = ("--host", "--port", "--workers", "--backend-store-uri", "--registry-store-uri", "--app-name")
_OPTION = re.compile(r"--[a-z][a-z0-9-]*")
_FALSE = {"0", "false", "f", "no", "n", "off", ""}


@dataclass(frozen=True)
class ServerOptions:
    """What a server was told. `given` maps a long option to its value, `kept` are the words without a field."""

    given: Mapping[str, str]
    kept: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    def get(self, option: str) -> str | None:
        """The value of an option: from the command line, else from its variable, else None."""
        if option in self.given:
            return self.given[option]
        return self.variables.get(VARIABLES.get(option, "")) or None

    def is_on(self, option: str, *, default: bool) -> bool:
        """The value of an on/off option."""
        value = self.get(option)
        return default if value is None else value.strip().lower() not in _FALSE

    def source(self, option: str) -> str:
        """Where the value of an option was read: for a person."""
        if option in self.given:
            return f"process arguments ({option})"
        variable = VARIABLES.get(option, "")
        return f"process environment ({variable})" if self.variables.get(variable) else "default of MLflow"


def parse(words: Sequence[str], environment: Mapping[str, str]) -> ServerOptions:
    """Take the words after `mlflow server` apart. An option this list does not know is kept with its value."""
    given: dict[str, str] = {}
    kept: list[str] = []
    for name, value, taken in _split(words):
        if name:
            given[name] = value
        if name not in OWN_FIELDS:
            kept.extend(taken)
    return ServerOptions(given=given, kept=tuple(kept), variables=dict(environment))


def without(words: Sequence[str], *options: str) -> tuple[str, ...]:
    """The words without these long options and their values."""
    return tuple(word for name, _, taken in _split(words) if name not in options for word in taken)


def unknown(words: Sequence[str], help_text: str) -> tuple[str, ...]:
    """Options among the words that the text of `mlflow server --help` does not list.

    Values may look like options (`--gunicorn-opts "--timeout 60"`), so the words are parsed, not scanned.
    """
    listed = set(_OPTION.findall(help_text))
    used = (taken[0].partition("=")[0] for name, _, taken in _split(words) if name)
    return tuple(dict.fromkeys(word for word in used if word.startswith("--") and word not in listed))


def _split(words: Sequence[str]) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Each option as its long name, its value and the words it was written with; a stray word has no name."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            if word[:2] not in _SHORT:
                yield "", word, (word,)
                continue
            name, value = _SHORT[word[:2]], word[2:].removeprefix("=")
            equals = value
        if equals:
            yield name, value, (word,)
        elif name in _FLAGS:
            yield *_FLAGS[name], (word,)
        elif rest and _takes(name, rest[0]):
            value = rest.pop(0)
            yield name, value, (word, value)
        else:
            yield name, "", (word,)


def _takes(option: str, following: str) -> bool:
    known = option in VARIABLES or option in OWN_FIELDS or option.endswith(("-opts", "-uri", "-root", "-config"))
    return known or not following.startswith("--")


def default_backend(release: Release, working_directory: Path) -> str:
    """The store a server uses when it is told none, by its release and working directory."""
    if release < Release.parse("3.7.0"):
        return "./mlruns"
    try:
        # What `_has_existing_mlruns_data` does: an experiment of a file store is a numbered directory with meta.yaml.
        stores = any(
            entry.name.isdigit() and (entry / "meta.yaml").exists()
            for entry in (working_directory / "mlruns").iterdir()
        )
    except OSError:
        stores = False
    return "./mlruns" if stores else "sqlite:///mlflow.db"
