"""Precision and recall on small projects as people write them, labelled by reading (`tests/support/scan_projects`)."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from liftlock.knowledge.catalogue import load
from liftlock.model.release import Release
from liftlock.scan.run import scan

_PLACE = Path(__file__).parents[2] / "support" / "scan_projects"
_LABEL = re.compile(r"\s*# ((?:@LL\d{3} ?)+)")
_Found = Counter[tuple[str, int, str]]


def _projects() -> list[str]:
    return sorted(path.name for path in _PLACE.iterdir() if path.is_dir())


def _copied(project: str, target: Path) -> _Found:
    """Copy a project without its labels; the labels."""
    labels: _Found = Counter()
    for source in sorted((_PLACE / project).rglob("*.txt")):
        path = source.relative_to(_PLACE / project).with_suffix("")
        lines = source.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            found = _LABEL.search(line)
            for code in re.findall(r"LL\d{3}", found[1]) if found is not None else ():
                labels[path.as_posix(), number, code] += 1
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text("\n".join(_LABEL.sub("", line) for line in lines), encoding="utf-8")
    return labels


def _scanned(project: str, target: Path) -> tuple[_Found, _Found]:
    labels = _copied(project, target)
    result = scan([target], load(), Release(version="2.9.2"), Release(version="3.17.2"))
    return labels, Counter((each.path, each.line, each.code) for each in result.findings)


@pytest.mark.parametrize("project", _projects())
def test_what_is_labelled_is_found_and_nothing_else(project: str, tmp_path: Path) -> None:
    labels, found = _scanned(project, tmp_path)
    assert sorted((labels - found).items()) == [], "missed"
    assert sorted((found - labels).items()) == [], "found without a label"


def test_there_is_enough_to_say_something() -> None:
    labels = sum(len(_LABEL.findall(path.read_text(encoding="utf-8"))) for path in _PLACE.rglob("*.txt"))
    assert labels > 60
