"""Interpreters with MLflow clients that the project's own builder does not make."""

from __future__ import annotations

import functools
from pathlib import Path

from liftlock.model.release import Release
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
