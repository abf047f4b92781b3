from __future__ import annotations

import pytest

from liftlock.pins.formats.shell import Shell
from tests.support.pins_check import assert_sample, moved, owner


@pytest.mark.parametrize("path", ["scripts/up.sh", ".env.example"])
def test_samples_change_in_their_pins_only(path: str) -> None:
    assert_sample(Shell(), path)


def test_a_script_without_a_suffix_is_known_by_its_first_line() -> None:
    for line in ("#!/bin/sh", "#!/usr/bin/env bash", "#! /bin/zsh -e"):
        found = owner("bin/up", f"{line}\n")
        assert found is not None and found.name == "shell"
    assert owner("bin/up", "#!/usr/bin/python3\n") is None


def test_a_quote_keeps_a_hash_inside() -> None:
    text = "echo 'a # b' mlflow==2.9.2 # mlflow==2.8\npip install \"mlflow==2.9.2\"  # it's mlflow==1.0\n"
    assert moved(Shell(), text) == text.replace("2.9.2", "3.17.2")
