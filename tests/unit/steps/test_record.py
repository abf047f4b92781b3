"""Recording the release: atomic, taken back, and never over somebody else's edit."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from liftlock.engine.interface import Context, Probe
from liftlock.errors import NeedsPerson
from liftlock.steps.record import Record
from liftlock.steps.site import Site

CONTEXT = Context("r", {})


def record(path: Path | None) -> Record:
    site = cast(Site, SimpleNamespace(config_path=path))
    return Record(site, title="t", before="old", after=lambda _: "new")


def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "liftlock.toml"
    path.write_text("old")
    step = record(path)
    assert step.probe(CONTEXT) is Probe.NOT_STARTED
    step.run(CONTEXT)
    assert path.read_text() == "new"
    assert step.probe(CONTEXT) is Probe.DONE
    step.undo(CONTEXT)
    step.undo(CONTEXT)
    assert path.read_text() == "old"


def test_somebody_elses_edit_stays(tmp_path: Path) -> None:
    path = tmp_path / "liftlock.toml"
    path.write_text("theirs")
    step = record(path)
    assert step.probe(CONTEXT) is Probe.UNKNOWN
    with pytest.raises(NeedsPerson, match="edited"):
        step.run(CONTEXT)
    step.undo(CONTEXT)
    assert path.read_text() == "theirs"


def test_a_rehearsal_records_nothing() -> None:
    step = record(None)
    step.run(CONTEXT)
    step.undo(CONTEXT)
    assert step.probe(CONTEXT) is Probe.DONE
