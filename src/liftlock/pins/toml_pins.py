"""Pins in TOML, shared by the formats written in it: requirement strings in arrays, and tables of dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from liftlock.pins import tokens
from liftlock.pins.model import PACKAGES, Pin, Syntax
from liftlock.pins.toml_scan import Path, Text

_HEAD = re.compile(
    rf"\s*{tokens.PACKAGE}\s*(?:\[[^\]]*\])?\s*\(?\s*(?P<pin>[=~!<>][^;)]*?)\s*\)?\s*(?:;|$)", re.IGNORECASE
)
_TABLE = re.compile(r"(?:^|-)(?:dependencies|packages|overrides|requires|sources)$")


def requirement_strings(texts: list[Text], what: str = "requirement") -> Iterator[Pin]:
    """Elements of arrays that are PEP 508 requirements of MLflow with a version, or Git references with one."""
    for each in texts:
        if not each.path or not isinstance(each.path[-1], int):
            continue
        scope = ".".join(map(str, each.path[:-1]))
        if pin := requirement(each.text, each.start, what, scope):
            yield pin


def requirement(text: str, start: int, what: str, scope: str) -> Pin | None:
    """The pin in one PEP 508 requirement that begins at `start` of the document, or None."""
    try:
        parsed = Requirement(text.strip())
    except InvalidRequirement:
        return None
    package = canonicalize_name(parsed.name)
    if package not in PACKAGES:
        return None
    if parsed.url:
        inside = next(tokens.requirements_in(text), None)
        return inside and _moved(inside, start, scope)
    if not parsed.specifier or (found := _HEAD.match(text)) is None:
        return None
    place = start + found.start("pin")
    marker = str(parsed.marker or "")
    scope = f"{scope} {marker}" if marker else scope
    return Pin(place, place + len(found["pin"]), found["pin"], package, Syntax.PEP440, what, scope, marker)


def dependency_tables(
    texts: list[Text], syntax: Syntax, tables: frozenset[str] = frozenset()
) -> Iterator[Pin]:  # fmt: skip
    """`mlflow = "^2.9"` and `mlflow = { version = "^2.9" }` (also several of them) in a table of dependencies.

    `tables` are names of further such tables.
    """
    for each in texts:
        place = next((i for i, key in enumerate(each.path) if _is_package(key)), None)
        if not place or isinstance(each.path[-1], int):
            continue
        table = str(each.path[place - 1])
        if table not in tables and not _TABLE.search(table):
            continue
        rest = [key for key in each.path[place + 1 :] if not isinstance(key, int)]
        if rest in ([], ["version"]) and each.text.strip() not in ("", "*"):
            # several entries of one package are told apart by markers beside them, so they never contradict
            yield Pin(
                each.start, each.end, each.text, canonicalize_name(str(each.path[place])), syntax, "dependency",
                _joined(each.path),
            )  # fmt: skip
        elif rest in (["tag"], ["rev"]) and tokens.is_tag(each.text):
            yield Pin(each.start, each.end, each.text, "mlflow", Syntax.VERSION, "git revision", _joined(each.path))


def tool_texts(texts: list[Text]) -> Iterator[Pin]:
    """Scripts and whole files inside strings of `[tool]`: tasks of hatch, poe and pdm, tox's `legacy_tox_ini`."""
    for each in texts:
        if each.path[:1] == ("tool",) and "mlflow" in each.text.lower():
            for pin in tokens.anything_in(tokens.without_comments(each.text)):
                yield _moved(pin, each.start, "")


def _is_package(key: str | int) -> bool:
    return isinstance(key, str) and canonicalize_name(key) in PACKAGES


def _joined(path: Path) -> str:
    return ".".join(map(str, path))


def _moved(pin: Pin, by: int, scope: str) -> Pin:
    return Pin(pin.start + by, pin.end + by, pin.text, pin.package, pin.syntax, pin.what, scope)
