"""The committed reference page is the one the catalogue makes."""

from __future__ import annotations

from pathlib import Path

from liftlock.knowledge.catalogue import load
from liftlock.knowledge.catalogue_page import page


def test_the_page_is_up_to_date() -> None:
    committed = Path(__file__).resolve().parents[3] / "docs" / "reference" / "releases.md"
    assert committed.read_text(encoding="utf-8") == page(load()), "run `make docs`"
