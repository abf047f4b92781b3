from __future__ import annotations

import stat
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from liftlock.errors import UsageError
from liftlock.online.control import Control, Moment, Said, Stand, When
from liftlock.online.converge import wait_while_paused


def test_moments() -> None:
    assert When.parse("auto") == When()
    assert When.parse("manual").moment is Moment.MANUAL
    assert When.parse("when-quiet").moment is Moment.QUIET
    at = When.parse("2026-11-21T22:00:00+00:00")
    assert at.moment is Moment.AT and at.at == datetime(2026, 11, 21, 22, tzinfo=UTC)
    with pytest.raises(UsageError, match="no moment to cut over"):
        When.parse("soon")


def test_what_is_said_adds_up_and_is_the_owners_alone(tmp_path: Path) -> None:
    control = Control(tmp_path / "run")
    assert control.said() == Said()
    control.say(paused=True)
    assert Control(tmp_path / "run").say(cut_over=True) == Said(paused=True, cut_over=True)
    assert stat.S_IMODE((tmp_path / "run" / "control.json").stat().st_mode) == 0o600


def test_what_is_told_is_read_back_and_a_damaged_file_says_nothing(tmp_path: Path) -> None:
    control = Control(tmp_path)
    assert control.stand() is None
    stand = Stand(phase="converge", at=datetime(2026, 1, 1, tzinfo=UTC), lag=3)
    control.tell(stand)
    assert control.stand() == stand
    (tmp_path / "progress.json").write_text("{")
    assert control.stand() is None


def test_a_pause_lasts_until_it_is_ended(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.say(paused=True)
    waiting = threading.Thread(target=wait_while_paused, args=(control, "converge"))
    waiting.start()
    time.sleep(0.3)
    assert waiting.is_alive()
    stand = control.stand()
    assert stand is not None and stand.phase == "converge (paused)"
    control.say(paused=False)
    waiting.join(5)
    assert not waiting.is_alive()
