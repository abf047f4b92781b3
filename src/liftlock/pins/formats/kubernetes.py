"""Kubernetes manifests and kustomizations: images, tags, environment, commands, config maps."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins import tokens
from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin
from liftlock.pins.yaml_pins import pins_in, whole
from liftlock.pins.yaml_scan import Scalar

_LABEL = "app.kubernetes.io/version"


class Kubernetes:
    """YAML with `apiVersion` and `kind`, kustomizations among them."""

    name = "kubernetes"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """By content, or by the name of a kustomization."""
        if path.suffix not in (".yml", ".yaml"):
            return False
        if path.stem.lower() == "kustomization":
            return True
        return all(re.search(rf"^{key}\s*:", head, re.MULTILINE) for key in ("apiVersion", "kind"))

    def find(self, text: str) -> list[Pin]:
        """Also the label `app.kubernetes.io/version` where `app.kubernetes.io/name` is mlflow."""
        return pins_in(text, extra=_version_label)


def _version_label(scalar: Scalar) -> Pin | None:
    if scalar.path[-1:] != (_LABEL,) or not tokens.is_tag(scalar.text):
        return None
    return whole(scalar, "mlflow", "label") if scalar.owner.get("app.kubernetes.io/name") == "mlflow" else None
