"""The reference page of releases, made from the catalogue: `python -m liftlock.knowledge.catalogue_page PATH`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from liftlock.knowledge import behaviours, breaks
from liftlock.knowledge.catalogue import Catalogue, load
from liftlock.model.deployment import Role
from liftlock.model.release import Release


def page(catalogue: Catalogue) -> str:
    """The page as Markdown."""
    number = len(catalogue.releases)
    first, last = catalogue.releases[0], catalogue.newest
    parts = [
        "# MLflow releases",
        f"Made from liftlock's catalogue of {catalogue.contents.made} by `make docs`; do not edit. It describes "
        f"{number} releases, {first} to {last}, each read from its wheel (or sdist, where there is none) without "
        "running it. "
        "`liftlock releases list`, `show`, `diff` and `path` answer from the same data; `liftlock releases refresh` "
        "reads newer releases from your own package index.",
        "## Releases",
        "`built` is the day the distribution was made. A release with the heads of the one above it needs no database "
        "migration from there. Surfaces are counted: REST endpoints (both prefixes), commands with their options, "
        "declared or named environment variables, flavors.",
        _table(
            ("release", "built", "Python", "tracking head", "auth head", "REST", "CLI", "env", "flavors"),
            [_row(catalogue, release) for release in catalogue.releases],
        ),
        "## What an operator notices",
        _table(
            ("since", "side", "what", "what to do", "source"),
            [(each.since, each.who.value, each.title, each.action, each.source) for each in behaviours.load()],
        ),
        "## What breaks, and what to use instead",
        "Every row is held against the catalogue by a test. `liftlock releases diff A B --breaking` shows the computed "
        "list for two releases, this one adds the replacements.",
        _table(
            ("removed in", "kind", "name", "effect", "instead", "source"),
            [
                (each.removed, each.kind.value, _name(each), each.effect.value, each.replacement, each.source)
                for each in sorted(breaks.load(), key=lambda each: (each.release, each.kind, each.path))
            ],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _row(catalogue: Catalogue, release: Release) -> tuple[str, ...]:
    heads = [catalogue.head(release, role) or "-" for role in (Role.TRACKING, Role.AUTH)]
    counts = [str(len(catalogue.section(name, release))) for name in ("rest", "cli", "environment", "flavors")]
    return (release.version, catalogue.built(release), catalogue.python(release) or "-", *heads, *counts)


def _name(entry: breaks.Break) -> str:
    parameters = f"({', '.join(f'{name}=' for name in entry.parameters)})" if entry.parameters else ""
    return f"`{entry.path}{parameters}`"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(load()), encoding="utf-8")
