"""One operator at a time."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from liftlock.engine.lock import exclusive, holder
from liftlock.errors import Refused
from tests.support.locks import hold


def test_second_is_refused_with_who_when_and_what(tmp_path: Path) -> None:
    child = hold(tmp_path)
    try:
        with (
            pytest.raises(Refused, match=rf"PID {child.pid}.*since \d{{4}}-\d\d-\d\d.*hold it"),
            exclusive(tmp_path, "x"),
        ):
            raise AssertionError("two hold it")
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.doing) == (child.pid, "hold it")
    finally:
        child.communicate("", timeout=10)
    assert holder(tmp_path) is None
    with exclusive(tmp_path, "now") as owner:
        assert owner.doing == "now"


def test_death_releases_it(tmp_path: Path) -> None:
    child = hold(tmp_path)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert holder(tmp_path) is None
    with exclusive(tmp_path, "after"):
        pass


def test_an_error_inside_releases_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="x"), exclusive(tmp_path, "one"):
        raise ValueError("x")
    with exclusive(tmp_path, "two"):
        pass


def test_unreadable_owner_is_still_refused(tmp_path: Path) -> None:
    child = hold(tmp_path)
    try:
        (tmp_path / "lock").write_text("garbage")
        with pytest.raises(Refused, match="another liftlock"), exclusive(tmp_path, "x"):
            pass
    finally:
        child.communicate("", timeout=10)
