"""One server a release for every test that needs nothing but a server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from served import Served
from tests.support import releases
from tracking_environments import of_its_time

BETWEEN = ("2.14.3", "2.22.5", "3.4.0")
EMPTIED = (
    "metrics", "latest_metrics", "params", "tags", "inputs", "logged_model_tags", "logged_model_params",
    "logged_model_metrics", "logged_models", "spans", "trace_tags", "trace_request_metadata", "trace_info", "runs",
    "model_version_tags", "model_versions", "registered_model_tags", "registered_model_aliases", "registered_models",
)  # fmt: skip


def _group(version: str) -> object:
    marks = [pytest.mark.xdist_group(f"tracking-{version}"), pytest.mark.release]
    return pytest.param(version, marks=[*marks, pytest.mark.soak] if version in BETWEEN else marks)


@pytest.fixture(scope="session", params=[_group(v) for v in (releases.OLD, *BETWEEN, "newest")])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    version = releases.newest() if request.param == "newest" else request.param
    folder = tmp_path_factory.mktemp(f"server-{version}")
    with releases.serving(version, folder) as url:
        yield Served(version, of_its_time(version), folder, url)


@pytest.fixture
def served(server: Served) -> Served:
    """The server without anything that an earlier test logged."""
    with closing(sqlite3.connect(server.database, timeout=30)) as db, db:
        there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        for table in EMPTIED:
            if table in there:
                db.execute(f"DELETE FROM {table}")
    return server


@pytest.fixture(scope="session", params=[_group(v) for v in (releases.OLD, "newest")])
def python(request: pytest.FixtureRequest) -> Path:
    """The interpreter of a release's client."""
    return releases.environment(releases.newest() if request.param == "newest" else request.param).python
