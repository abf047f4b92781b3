"""Whatever is written between whatever steps of a move there and back, both databases are equal in the end (SQLite)."""

from __future__ import annotations

from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liftlock.model.deployment import Role
from liftlock.model.uri import Engine
from liftlock.stores.opening import live
from tests.support.harness import make_harness
from tests.support.live import move_there_and_back, prepare


def _move(random: Random) -> None:
    with TemporaryDirectory() as directory:
        harness = make_harness(Engine.SQLITE, Path(directory))
        store = harness.new_store(Role.TRACKING, "blue")
        prepare(harness, store)
        move_there_and_back(store, live, random)


@settings(max_examples=8, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_any_interleaving_ends_equal(random: Random) -> None:
    _move(random)


@pytest.mark.soak
@settings(max_examples=1500, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_many_interleavings_end_equal(random: Random) -> None:
    _move(random)
