"""Which catalogue of releases is asked; apart from `app.releases`, so that asking costs no import of what makes one."""

from __future__ import annotations

from pathlib import Path

from liftlock.errors import ReleaseError
from liftlock.knowledge.catalogue import INDEX, Catalogue, load
from liftlock.knowledge.extract.facts import SECTIONS
from liftlock.releases.cache import default_cache


def current(root: Path | None = None) -> tuple[Catalogue, str]:
    """The user's own catalogue when there is a whole one that is not older than the shipped, else the shipped.

    The text is empty, or says why the user's own was passed over.
    """
    shipped = load()
    own = (root or default_cache()) / "catalogue"
    if not (own / INDEX).exists():
        return shipped, ""
    try:
        mine = load(own)
        for section in SECTIONS:
            mine.coded(section)
    except ReleaseError as error:
        return shipped, f"{error.message}; the shipped catalogue of {shipped.contents.made} is used instead"
    return (mine, "") if mine.contents.made >= shipped.contents.made else (shipped, "")
