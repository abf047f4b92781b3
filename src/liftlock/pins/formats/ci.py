"""Continuous integration: GitHub workflows and actions, GitLab, and their like in YAML."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from liftlock.pins.formats.interface import Group
from liftlock.pins.model import Pin
from liftlock.pins.yaml_pins import pins_in

_NAMES = frozenset({
    "action", ".travis", "azure-pipelines", "bitbucket-pipelines", ".pre-commit-config", "cloudbuild", "buildspec",
    ".drone", "appveyor", ".readthedocs",
})  # fmt: skip


class Ci:
    """Workflow files by their folder or name."""

    name = "ci"
    group = Group.PINS

    def recognises(self, path: PurePosixPath, head: str) -> bool:
        """`.github/`, `.gitlab/`, `.circleci/`, `.gitlab-ci.yml` and the known names."""
        del head
        if path.suffix not in (".yml", ".yaml"):
            return False
        folder = {".github", ".gitlab", ".circleci", ".buildkite"} & set(path.parts[:-1])
        return bool(folder) or re.search(r"gitlab-ci", path.name) is not None or path.stem in _NAMES

    def find(self, text: str) -> list[Pin]:
        """Service images, variables, a matrix of one version, and requirements in scripts."""
        return pins_in(text)
