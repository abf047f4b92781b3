"""Lock files of the package managers: never edited here, only read for the versions they hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import PACKAGES, CannotParse, Pin, Syntax
from liftlock.pins.toml_scan import strings

_TOML = re.compile(r"(?:uv|poetry|pdm)\.lock|pylock(?:\.[^.]+)?\.toml")
_JSON = re.compile(
    rf'"(?P<name>{tokens.PACKAGE})"\s*:\s*\{{[^{{}}]*?"version"\s*:\s*"(?P<pin>==[^"]+)"', re.IGNORECASE | re.DOTALL
)
_CONDA = re.compile(
    rf"^- name: (?P<name>{tokens.PACKAGE})[ \t]*\r?\n(?:[ \t]+.*\n)*?[ \t]+version: [\"']?(?P<pin>{tokens.VERSION})",
    re.IGNORECASE | re.MULTILINE,
)


class TomlLock:
    """`uv.lock`, `poetry.lock`, `pdm.lock` and `pylock.toml` (PEP 751)."""

    name = "lock"
    group = Group.LOCK

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return _TOML.fullmatch(path.name) is not None

    def find(self, text: str) -> list[Pin]:
        """The `version` of each locked package of MLflow's."""
        texts = strings(text)
        names = {
            each.path[:-1]: canonicalize_name(each.text)
            for each in texts
            if len(each.path) == 3 and each.path[2] == "name"
        }
        return [
            Pin(each.start, each.end, each.text, names[each.path[:-1]], Syntax.VERSION, "locked version")
            for each in texts
            if len(each.path) == 3 and each.path[2] == "version" and names.get(each.path[:-1]) in PACKAGES
        ]


class PipfileLock:
    """`Pipfile.lock`, which is JSON."""

    name = "Pipfile.lock"
    group = Group.LOCK

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name == "Pipfile.lock"

    def find(self, text: str) -> list[Pin]:
        """The `version` of each locked package of MLflow's."""
        try:
            json.loads(text)
        except json.JSONDecodeError as error:
            raise CannotParse(error.lineno, f"not readable as JSON: {error.msg}") from None
        return list(_named(_JSON, text, Syntax.PEP440))


class CondaLock:
    """`conda-lock.yml` and `pixi.lock`."""

    name = "conda lock"
    group = Group.LOCK

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return re.fullmatch(r"(?:.*\.)?conda-lock\.ya?ml|pixi\.lock", path.name) is not None

    def find(self, text: str) -> list[Pin]:
        """The `version` of each locked package of MLflow's."""
        return list(_named(_CONDA, text, Syntax.VERSION))


def _named(pattern: re.Pattern[str], text: str, syntax: Syntax) -> Iterator[Pin]:
    for found in pattern.finditer(text):
        yield Pin(*found.span("pin"), found["pin"], canonicalize_name(found["name"]), syntax, "locked version")
