from __future__ import annotations

import pytest

from liftlock.pins.formats.docs import Docs
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["docs/install.md"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Docs(), path)


@pytest.mark.parametrize("path", ["CHANGELOG.md", "docs/history.rst", "RELEASE_NOTES.txt", "docs/upgrade-2.9.2.md"])
def test_what_tells_of_the_past_is_no_documentation_to_change(path: str) -> None:
    assert owner(path, "") is None


def test_prose_with_a_full_stop_moves() -> None:
    text = "Use mlflow==2.9.2. Or ghcr.io/mlflow/mlflow:v2.9.2.\n"
    assert moved(Docs(), text) == text.replace("2.9.2", "3.17.2")
