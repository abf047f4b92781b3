"""Interpreters with MLflow clients that the project's own builder does not make, kept in the same cache."""

from __future__ import annotations

import functools
import os
import shutil
from pathlib import Path

from liftlock.model.release import Release
from liftlock.releases.pythons import find_minor, find_python
from liftlock.releases.uv import uv
from tests.support import releases

# With today's opentelemetry these releases never end a trace, with or without the plugin: that of the month in which
# the release's minor came out. (2.22.5 is a late correction of 2.22, of April 2025.)
OPENTELEMETRY = {"2.14.3": "1.25.0", "2.22.5": "1.32.1", "3.4.0": "1.37.0"}


@functools.cache
def of_its_time(version: str) -> Path:
    """A release's interpreter, for a release between with the opentelemetry of its time."""
    if version not in OPENTELEMETRY:
        return releases.environment(version).python
    pins = [f"opentelemetry-{part}=={OPENTELEMETRY[version]}" for part in ("api", "sdk")]
    made = releases.environments().build(Release.parse(version), requirements=pins, start=False)
    return made.python


def skinny(version: str) -> Path:
    """The interpreter of an environment that has mlflow-skinny alone, not mlflow."""
    return _installed(f"skinny-{version}", f"mlflow-skinny=={version}", find_python(Release.parse(version)).path)


def oldest_python(version: str) -> Path:
    """A release on Python 3.9, the oldest that the plugin promises to run on."""
    found = find_minor("3.9")
    assert found is not None, "there is no Python 3.9 here, and uv could not fetch one"
    return _installed(f"python39-{version}", f"mlflow=={version}", found.path)


@functools.cache
def _installed(name: str, requirement: str, interpreter: Path) -> Path:
    place = releases.cache_root() / "tracking" / name
    if not place.exists():
        fresh = place.with_name(f"{name}.{os.getpid()}")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.parent.mkdir(parents=True, exist_ok=True)
        uv(["venv", "--quiet", "--relocatable", "--no-project", "--python", interpreter, fresh], timeout=120)
        python = fresh / "bin" / "python"
        # Releases before 2.13 import pkg_resources, which later setuptools no longer have.
        words = ["pip", "install", "--quiet", "--compile-bytecode", "--python", python, requirement, "setuptools<81"]
        uv(words, timeout=1800, what=requirement)
        fresh.rename(place)
    return place / "bin" / "python"
