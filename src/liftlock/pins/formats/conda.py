"""Conda environments: match specifications, and the pip list inside them."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import PACKAGES, Pin, Syntax
from liftlock.pins.toml_pins import requirement
from liftlock.pins.yaml_pins import pins_in
from liftlock.pins.yaml_scan import Scalar

_NAME = re.compile(r"(?:^|[-_.])(?:environment|conda|python_env|env)(?:[-_.]|$)", re.IGNORECASE)
_SPEC = re.compile(
    rf"(?:[\w./-]+::)?(?P<name>{tokens.PACKAGE})(?:\[[^\]]*\])?[ \t]*(?P<pin>[=~!<>\d].*?)[ \t]*", re.IGNORECASE
)


class Conda:
    """`environment.yml`, `conda.yaml`, `python_env.yaml`: YAML files with a list of dependencies."""

    name = "conda"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name and a list of dependencies."""
        named = path.suffix in (".yml", ".yaml") and _NAME.search(path.stem) is not None
        return named and re.search(r"^(?:dependencies|build_dependencies)\s*:", head, re.MULTILINE) is not None

    def find(self, text: str) -> list[Pin]:
        """Specifications of the list itself in conda's syntax, those below `pip:` in pip's."""
        return pins_in(text, extra=_dependency)


def _dependency(scalar: Scalar) -> Pin | None:
    if not scalar.path or not isinstance(scalar.path[-1], int):
        return None
    keys = [part for part in scalar.path if isinstance(part, str)]
    if keys[-1:] == ["pip"] or keys[:1] == ["build_dependencies"] or scalar.path[:1] == ("python",):
        return requirement(scalar.text, scalar.start, "pip requirement", ".".join(keys))
    found = _SPEC.fullmatch(scalar.text)
    if keys[-1:] != ["dependencies"] or found is None or canonicalize_name(found["name"]) not in PACKAGES:
        return None
    start = scalar.start + found.start("pin")
    return Pin(
        start, start + len(found["pin"]), found["pin"], canonicalize_name(found["name"]), Syntax.CONDA,
        "conda specification", ".".join(keys),
    )  # fmt: skip
