from __future__ import annotations

import pytest

from liftlock.pins.formats.release_config import ReleaseConfig
from tests.support.pins_check import assert_sample, moved


@pytest.mark.parametrize("path", ["config/mlflow_release.yaml"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(ReleaseConfig(), path)


def test_notes_elsewhere_and_lists_stay() -> None:
    text = "current_version: 2.9.2\nrelease_notes_url: https://example.org/notes/2.9.2\nhistory: [2.9.2]\n"
    assert moved(ReleaseConfig(), text) == text.replace("current_version: 2.9.2", "current_version: 3.17.2")


def test_the_image_may_come_from_any_registry() -> None:
    text = "container_image: 'registry.example.org:5000/x/mlflow:2.9.2-full'\n"
    assert moved(ReleaseConfig(), text) == text.replace("2.9.2", "3.17.2")
