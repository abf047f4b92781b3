"""One server for an engine and module, and databases on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from liftlock.model.deployment import Role
from liftlock.stores.interface import Store
from tests.support.harness import HARNESSES, StoreFactory, StoreHarness, make_harness


@pytest.fixture(
    scope="module",
    params=[pytest.param(engine, marks=pytest.mark.xdist_group(f"store-{engine}")) for engine in HARNESSES],
)
def harness(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHarness]:
    made = make_harness(request.param, tmp_path_factory.mktemp("engine"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def store_factory(harness: StoreHarness, request: pytest.FixtureRequest) -> StoreFactory:
    made = 0

    def make(role: Role = Role.TRACKING) -> Store:
        nonlocal made
        made += 1
        digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:10]
        return harness.new_store(role, f"t{digest}_{made}")

    return make


@pytest.fixture
def store(store_factory: StoreFactory) -> Store:
    return store_factory()
