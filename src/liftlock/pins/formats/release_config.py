"""config/mlflow_release.yaml: the version in use, its image, and the address of its release notes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin, Syntax
from liftlock.pins.yaml_pins import pins_in, whole
from liftlock.pins.yaml_scan import Scalar

_NOTES = re.compile(rf"mlflow/releases/tag/(?P<version>{tokens.VERSION})$")


class ReleaseConfig:
    """The file that tracks which release a repository is on."""

    name = "release tracking"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        return path.name in ("mlflow_release.yaml", "mlflow_release.yml")

    def find(self, text: str) -> list[Pin]:
        """`current_version`, `container_image`, and `release_notes_url` where it names a tag."""
        return pins_in(text, extra=_key)


def _key(scalar: Scalar) -> Pin | None:
    if scalar.path == ("current_version",) and tokens.is_tag(scalar.text):
        return whole(scalar, "mlflow", "current version")
    if scalar.path == ("release_notes_url",) and (found := _NOTES.search(scalar.text)):
        start, end = found.span("version")
        return Pin(
            scalar.start + start, scalar.start + end, found["version"], "mlflow", Syntax.VERSION, "release notes"
        )
    return None
