"""Helm: `Chart.yaml` (appVersion of an MLflow chart), values, and templates, which are no YAML."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin
from liftlock.pins.yaml_pins import pins_in, whole
from liftlock.pins.yaml_scan import Scalar

_CHART = re.compile(r"^name\s*:\s*[\"']?\S*mlflow", re.MULTILINE)


class Chart:
    """`Chart.yaml`. A chart's own `version`, and that of its dependencies, is not MLflow's and stays."""

    name = "helm chart"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name, when the chart itself is MLflow's."""
        return path.name == "Chart.yaml" and _CHART.search(head) is not None

    def find(self, text: str) -> list[Pin]:
        """`appVersion`, and images in annotations."""
        return pins_in(text, extra=_app_version)


class Values:
    """`values*.yaml` of any chart, also one that contains MLflow's as a dependency."""

    name = "helm values"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By name."""
        del head
        named = re.search(r"(?:^|[-_.])values(?:[-_.]|$)", path.stem, re.IGNORECASE)
        return path.suffix in (".yml", ".yaml") and named is not None

    def find(self, text: str) -> list[Pin]:
        """`image.tag` and `image.digest` beside MLflow's repository or below a section `mlflow`."""
        return pins_in(text)


class Template:
    """A template of a chart, or another file with `{{ ... }}` in it that no other format has: taken line by line."""

    name = "helm template"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By its folder or its marks."""
        if path.suffix not in (".yml", ".yaml", ".tpl", ".j2", ".gotmpl"):
            return False
        return ("templates" in path.parts and path.suffix in (".yaml", ".yml", ".tpl")) or "{{" in head

    def find(self, text: str) -> list[Pin]:
        """Images, variables and requirements outside comments."""
        return tokens.anything_in(tokens.without_comments(text))


def _app_version(scalar: Scalar) -> Pin | None:
    if scalar.path == ("appVersion",) and tokens.is_tag(scalar.text):
        return whole(scalar, "mlflow", "appVersion")
    return None
