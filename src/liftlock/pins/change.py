"""What a new version makes of the files of a survey: pure, from documents to documents, proven by a second reading."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from liftlock.pins.document import Document, Edit
from liftlock.pins.model import BadFile, CannotWrite, Pin, Target
from liftlock.pins.pythons import only_older
from liftlock.pins.survey import Surveyed, find
from liftlock.pins.tokens import DIGEST_ALONE
from liftlock.pins.writing import named, rewritten


@dataclass(frozen=True)
class Moved:
    """One pin that changes: where (line from 1), what it is, and its text before and after."""

    path: str
    line: int
    what: str
    package: str
    before: str
    after: str
    version: str | None


@dataclass(frozen=True)
class Change:
    """One file before and after."""

    before: Document
    after: Document
    moved: tuple[Moved, ...] = ()

    @property
    def path(self) -> str:
        """Where the file lies below the root."""
        return self.before.path

    def diff(self) -> str:
        """A unified diff. Of a file of environment variables no other line is shown: they may be secrets."""
        around = 0 if ".env" in self.path.rpartition("/")[2] else 1
        lines = (self.before.text.splitlines(), self.after.text.splitlines())
        return "\n".join(difflib.unified_diff(*lines, f"a/{self.path}", f"b/{self.path}", lineterm="", n=around))


def change(each: Surveyed, target: Target) -> Change | None:
    """The file with its pins moved, or None when it names the target already.

    The result is read again by the same parser: it must hold the same number of pins, all at the target. Raises
    BadFile, with the line, for a pin that cannot name the target.
    """
    edits, moved = [], []
    after_all = _after(each, target)
    for pin, after in zip(each.pins, after_all, strict=True):
        if after == pin.text:
            continue
        edits.append(Edit(pin.start, pin.end, after))
        line = each.document.line(pin.start)
        moved.append(Moved(each.document.path, line, pin.what, pin.package, pin.text, after, named(pin)))
    if not edits:
        return None
    result = each.document.edited(edits)
    _verify(each, result, after_all.count(""), target)
    return Change(each.document, result, tuple(moved))


def at_target(document: Document, pins: list[Pin] | tuple[Pin, ...], target: Target) -> bool:
    """Whether every pin names the target already."""
    return all(
        _rewritten(document, pin, target) == pin.text for pin in pins if not pin.follows and not for_older(pin, target)
    )


def for_older(pin: Pin, target: Target) -> bool:
    """Whether a pin's marker asks for Pythons that the target does not run on: then its version is right as it is."""
    return bool(pin.marker and target.python) and only_older(pin.marker, target.python)


def _after(each: Surveyed, target: Target) -> list[str]:
    """The new text of each pin. Digests and hashes belong to a version and stay while that stays."""
    versions = {
        pin: pin.text if for_older(pin, target) else _rewritten(each.document, pin, target)
        for pin in each.pins
        if not pin.follows
    }
    moving = {pin.package for pin, after in versions.items() if after != pin.text}
    return [
        versions[pin]
        if pin in versions
        else _rewritten(each.document, pin, target)
        if (pin.package in moving and not for_older(pin, target)) or pin.what == DIGEST_ALONE
        else pin.text
        for pin in each.pins
    ]


def _verify(each: Surveyed, result: Document, dropped: int, target: Target) -> None:
    again = find(result, each.format)
    if len(again) != len(each.pins) - dropped or not at_target(result, again, target):
        raise BadFile(
            each.document.path, 1, f"read as {each.format.name}, the changed file would not name {target.version}"
        )


def _rewritten(document: Document, pin: Pin, target: Target) -> str:
    try:
        return rewritten(pin, target)
    except CannotWrite as error:
        raise BadFile(document.path, document.line(pin.start), str(error), hint=_hint(pin)) from None


def _hint(pin: Pin) -> str:
    if "digest" in pin.what:
        return f"Give --image-digest {pin.package}=sha256:..., or --drop-digests where the image also has a tag."
    if pin.what == "hashes":
        return "The package index has them: run without --offline."
    return "Change this place by hand first; nothing was changed."
