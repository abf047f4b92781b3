"""The login for a registry that `docker login` or `podman login` left on this machine; none of ours is ever kept."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

from liftlock import proc
from liftlock.errors import CommandFailed, Refused
from liftlock.model.secret import Secret

_HELPER = re.compile(r"[\w.-]+")
_HUB = "docker.io"
# The name under which Docker keeps the login of its own registry, since before there were others.
_HUB_KEY = "https://index.docker.io/v1/"


def login(host: str) -> tuple[str, Secret] | None:
    """User and password for a registry, or None. Raises Refused for a file that is none, naming it.

    Looked at, in order: REGISTRY_AUTH_FILE, DOCKER_CONFIG, Docker's file in the home directory, Podman's in
    XDG_RUNTIME_DIR. A credential helper named there is asked as Docker asks it.
    """
    for path in _files():
        settings = _settings(path)
        for key in (_HUB_KEY, _HUB) if host == _HUB else (host, f"https://{host}"):
            if (found := _kept(settings, key, path) or _helped(settings, key)) is not None:
                return found
    return None


def _files() -> list[Path]:
    home, named = Path("~").expanduser(), os.environ
    places = [
        Path(named["REGISTRY_AUTH_FILE"]) if "REGISTRY_AUTH_FILE" in named else None,
        Path(named.get("DOCKER_CONFIG", home / ".docker")) / "config.json",
        Path(named["XDG_RUNTIME_DIR"]) / "containers" / "auth.json" if "XDG_RUNTIME_DIR" in named else None,
    ]
    return [place for place in places if place is not None and place.is_file()]


def _settings(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read as registry logins: {type(error).__name__}") from None
    return found if isinstance(found, dict) else {}


def _kept(settings: dict[str, Any], key: str, path: Path) -> tuple[str, Secret] | None:
    entry = (settings.get("auths") or {}).get(key) or {}
    if not entry.get("auth"):
        return None
    try:
        user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
    except ValueError:
        colon = user = password = ""
    if not colon:
        raise Refused(f"the login of {key} in {path} cannot be read", hint=f"Log in anew: docker login {key}")
    return user, Secret(password.rstrip("\0"))


def _helped(settings: dict[str, Any], key: str) -> tuple[str, Secret] | None:
    name = (settings.get("credHelpers") or {}).get(key) or settings.get("credsStore")
    if not isinstance(name, str) or not _HELPER.fullmatch(name):
        return None
    try:
        done = proc.run([f"docker-credential-{name}", "get"], timeout=30, stdin=key, check=False, secret=True)
        said = json.loads(done.stdout) if done.status == 0 else {}
    except (CommandFailed, ValueError):
        return None  # it is not installed, or knows no login: then as everybody
    user, password = said.get("Username"), said.get("Secret")
    if not user or not password or user == "<token>":
        return None  # an identity token is for the registry's own login service
    return str(user), Secret(str(password))
