"""For any subset of files, in any encoding, and any version: every pin names it and nothing else changed."""

from __future__ import annotations

import codecs

from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.version import Version

from liftlock.pins.change import change
from liftlock.pins.document import Document
from liftlock.pins.formats.requirements import Requirements
from liftlock.pins.model import Target
from liftlock.pins.survey import Surveyed
from tests.support.pins_check import owner
from tests.support.pins_tree import SAMPLES, Sample

VERSIONS = st.builds(
    lambda major, minor, patch: f"{major}.{minor}.{patch}", st.integers(1, 12), st.integers(0, 30), st.integers(0, 30)
)
NEWLINES = st.sampled_from(["as it is", "\n", "\r\n"])


@settings(max_examples=200, deadline=None)
@given(
    st.sets(st.sampled_from(SAMPLES), min_size=1, max_size=6),
    VERSIONS, NEWLINES, st.booleans(), st.booleans(),
)  # fmt: skip
def test_only_pins_change_and_all_name_the_version(
    samples: set[Sample], version: str, newline: str, mark: bool, last: bool
) -> None:
    target = Target(Version(version))
    for sample in samples:
        text, template = sample.before.removeprefix("\ufeff"), sample.template.removeprefix("\ufeff")
        if newline != "as it is" and "\\\n" not in text:
            text = text.replace("\r\n", "\n").replace("\n", newline)
            template = template.replace("\r\n", "\n").replace("\n", newline)
        if not last:
            text, template = text.rstrip("\r\n"), template.rstrip("\r\n")
        raw = (codecs.BOM_UTF8 if mark else b"") + text.encode()
        document = Document.decode(sample.path, raw)
        assert document is not None and document.text == text
        form = Requirements() if sample.path.startswith("constraints") else owner(sample.path, text)
        assert form is not None
        made = change(Surveyed(document, form, tuple(form.find(text))), target)
        after = made.after if made else document
        assert after.raw.startswith(codecs.BOM_UTF8) is mark
        assert Sample.between(template, after.text), after.text
        short = {version, version.rpartition(".")[0], version.partition(".")[0]}
        named = sample.read(after.text.replace("\r\n", "\n"))
        assert version in named or sample.path.startswith("constraints")
        assert set(named) <= short, (sample.path, named)
        again = change(Surveyed(after, form, tuple(form.find(after.text))), target)
        assert again is None
