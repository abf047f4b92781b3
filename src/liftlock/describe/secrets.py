"""Secrets beside the configuration: `${NAME}` in liftlock.toml stands for a value that is written nowhere in it.

Values come from the environment of this process first, then from `.liftlock/secrets.env` (mode 0600): one
`NAME=value` a line, the value taken as it stands to the end of the line.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from liftlock.effects import side_effect
from liftlock.errors import Refused, UsageError
from liftlock.files import PRIVATE_FILE, private_directory, write_atomic
from liftlock.model.secret import remember

FILE = "secrets.env"
_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_SECRET_NAME = re.compile(r"PASS(WORD|WD|PHRASE)?|SECRET|TOKEN|KEY|CREDENTIAL", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Whether an environment variable of this name is taken to hold a secret."""
    return _SECRET_NAME.search(name) is not None


def references(text: str) -> tuple[str, ...]:
    """The names that a text refers to as `${NAME}`, in order."""
    return tuple(_REFERENCE.findall(text))


def read(state_directory: Path) -> dict[str, str]:
    """The secrets file of a state directory; empty when there is none. Every value is redacted from now on.

    Raises Refused when others than the owner may read the file, UsageError when a line is not `NAME=value`.
    """
    path = state_directory / FILE
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if mode & 0o077:
        raise Refused(f"{path} can be read by others", hint=f"Run: chmod 600 {path}")
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not _NAME.match(name):
            raise UsageError(f"{path}:{number}: expected NAME=value")
        remember(value)
        values[name] = value
    return values


def write(state_directory: Path, values: Mapping[str, str]) -> None:
    """Merge values into the secrets file, readable by its owner only. Raises UsageError for an impossible value."""
    if not values:
        return
    for name, value in values.items():
        if not _NAME.match(name):
            raise UsageError(f"{name!r} is not a name for a secret")
        if "\n" in value or "\r" in value or "\0" in value:
            raise UsageError(f"the value of {name} spans lines, which {FILE} cannot hold")
    merged = {**read(state_directory), **values}
    for value in values.values():
        remember(value)
    lines = ["# Secrets that liftlock.toml refers to as ${NAME}: NAME=value, one a line. Keep this file to yourself."]
    lines += [f"{name}={merged[name]}" for name in sorted(merged)]
    with side_effect("write secrets"):
        private_directory(state_directory)
        write_atomic(state_directory / FILE, "\n".join(lines) + "\n", mode=PRIVATE_FILE)


def lookup(state_directory: Path) -> Callable[[str], str | None]:
    """A function that finds a secret's value: in the environment of this process, then in the secrets file."""
    stored: dict[str, str] | None = None

    def find(name: str) -> str | None:
        nonlocal stored
        value = os.environ.get(name)
        if value is None:
            if stored is None:
                stored = read(state_directory)
            return stored.get(name)
        if is_secret_name(name):
            remember(value)
        return value

    return find


def expand(text: str, find: Callable[[str], str | None], *, where: str = "") -> str:
    """The text with every `${NAME}` replaced. Raises UsageError, naming the name, when one has no value."""
    return _REFERENCE.sub(lambda match: _value(match.group(1), find, where), text)


def expand_uri(text: str, find: Callable[[str], str | None], *, where: str = "") -> str:
    """Like `expand` for a URI: values are percent-encoded, unless the whole text is one `${NAME}`."""
    if _REFERENCE.fullmatch(text.strip()):
        return expand(text, find, where=where)
    return _REFERENCE.sub(lambda match: quote(_value(match.group(1), find, where), safe=""), text)


def _value(name: str, find: Callable[[str], str | None], where: str) -> str:
    value = find(name)
    if value is None:
        raise UsageError(
            f"{where + ': ' if where else ''}${{{name}}} has no value",
            hint=f"Set {name} in the environment or in .liftlock/{FILE} beside liftlock.toml.",
        )
    return value
