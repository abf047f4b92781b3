"""Run one format on one text."""

from __future__ import annotations

from pathlib import PurePosixPath

from packaging.version import Version

from liftlock.pins.change import change
from liftlock.pins.document import Document
from liftlock.pins.formats import FORMATS
from liftlock.pins.formats.interface import Format
from liftlock.pins.model import Target
from liftlock.pins.survey import Surveyed
from tests.support.pins_tree import BY_PATH, NEW, OLD

TARGET = Target(Version(NEW))


def moved(form: Format, text: str, target: Target = TARGET) -> str:
    """The text after a change by this format."""
    document = Document.decode("file", text.encode())
    assert document is not None
    made = change(Surveyed(document, form, tuple(form.find(document.text))), target)
    return made.after.raw.decode() if made else text


def owner(path: str, text: str) -> Format | None:
    """The first format that recognises a file."""
    return next(
        (form for form in FORMATS if form.recognises(PurePosixPath(path), text.removeprefix("\ufeff")[:4096])), None
    )


def assert_sample(form: Format, path: str) -> None:
    """The sample changes exactly as it says, and a foreign parser reads the new version, and the old one before."""
    sample = BY_PATH[path]
    found = owner(path, sample.before)
    assert found is not None and found.name == form.name
    after = moved(form, sample.before)
    assert after == sample.after
    assert sample.unchanged(after)
    assert set(sample.read(after)) <= {NEW, "3.17"} and sample.read(after)
    assert OLD in sample.read(sample.before) or "2.9" in sample.read(sample.before)
    assert moved(form, after) == after, "a second change must change nothing"
