"""FROM lines that follow the tracked image to another registry: the whole reference, not its tag alone."""

from __future__ import annotations

import re

from liftlock.pins.change import Moved
from liftlock.pins.document import Document, Edit
from liftlock.pins.model import BadFile

_FROM = re.compile(
    r"^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*(?P<image>(?P<name>[^\s:@$]+(?::\d+/[^\s:@$]+)?)"
    r"(?::(?P<tag>[^\s@]+))?(?:@(?P<digest>\S+))?)(?=\s|$)",
    re.IGNORECASE | re.MULTILINE,
)


def name_of(image: str) -> str:
    """A reference's registry and name, without tag and digest."""
    name = image.partition("@")[0]
    head, colon, tail = name.rpartition(":")
    return head if colon and "/" not in tail else name


def followed(document: Document, before: str, after: str) -> tuple[Document, tuple[Moved, ...]]:
    """The Dockerfile with every FROM of the image `before` (any tag) made `after`; a tag from an ARG stays.

    Raises BadFile where a FROM is pinned by a digest and `after` has none: a digest wins over a name, and which one
    the image has in its new place only the world knows.
    """
    if name_of(before) == name_of(after):
        return document, ()  # its tag was moved with all the others
    edits, moved = [], []
    for found in _FROM.finditer(document.text):
        if found["name"] != name_of(before):
            continue
        line = document.line(found.start("image"))
        if found["digest"] and "@" not in after:
            raise BadFile(
                document.path, line, f"{found['image']} is pinned by a digest",
                hint=f"Give the new one with the image: --image-tag {after}@sha256:...",
            )  # fmt: skip
        open_tag = "$" in (found["tag"] or "")
        text = f"{name_of(after)}:{found['tag']}" if open_tag else after
        edits.append(Edit(*found.span("image"), text))
        moved.append(Moved(document.path, line, "image", found["name"], found["image"], text, found["tag"]))
    return document.edited(edits), tuple(moved)
