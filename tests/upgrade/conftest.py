"""One cache of environments for all; one PostgreSQL server for a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from liftlock.demo.postgres import PostgresServer
from tests.support import releases


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFTLOCK_CACHE", str(releases.cache_root()))


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False) as server:
        yield server
