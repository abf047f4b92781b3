"""The part of SARIF 2.1.0 that a scan writes, from section 3 of the standard: its objects, and what they hold.

Every object is closed: a property that the standard does not have is an error, as in its JSON schema.
"""

from __future__ import annotations

import re
from typing import Any

_TEXT, _INDEX, _BAG = (str, ""), (int, "index"), (dict, "bag")
# Object -> property -> (type, what else holds); the name of another object for an object, in brackets for a list.
_OBJECTS: dict[str, tuple[frozenset[str], dict[str, Any]]] = {
    "log": (frozenset({"version", "runs"}), {"$schema": (str, "uri"), "version": (str, "2.1.0"), "runs": ["run"]}),
    "run": (frozenset({"tool"}), {
        "tool": "tool", "results": ["result"], "columnKind": (str, "utf16CodeUnits|unicodeCodePoints"),
        "properties": _BAG,
    }),
    "tool": (frozenset({"driver"}), {"driver": "toolComponent", "properties": _BAG}),
    "toolComponent": (frozenset({"name"}), {
        "name": _TEXT, "version": _TEXT, "informationUri": (str, "uri"), "rules": ["reportingDescriptor"],
        "properties": _BAG,
    }),
    "reportingDescriptor": (frozenset({"id"}), {
        "id": _TEXT, "name": _TEXT, "shortDescription": "multiformatMessageString",
        "fullDescription": "multiformatMessageString", "helpUri": (str, "uri"), "properties": _BAG,
    }),
    "multiformatMessageString": (frozenset({"text"}), {"text": _TEXT, "markdown": _TEXT}),
    "message": (frozenset({"text"}), {"text": _TEXT, "markdown": _TEXT, "id": _TEXT}),
    "result": (frozenset({"message"}), {
        "ruleId": _TEXT, "ruleIndex": _INDEX, "level": (str, "none|note|warning|error"), "message": "message",
        "locations": ["location"], "partialFingerprints": (dict, "strings"), "properties": _BAG,
    }),
    "location": (frozenset(), {"physicalLocation": "physicalLocation", "properties": _BAG}),
    "physicalLocation": (frozenset({"artifactLocation"}), {
        "artifactLocation": "artifactLocation", "region": "region", "properties": _BAG,
    }),
    "artifactLocation": (frozenset(), {"uri": (str, "reference"), "uriBaseId": _TEXT}),
    "region": (frozenset(), {
        "startLine": (int, "one"), "startColumn": (int, "one"), "endLine": (int, "one"), "endColumn": (int, "one"),
    }),
}  # fmt: skip


def problems(document: Any) -> list[str]:
    """What is wrong with a SARIF document; empty when nothing is."""
    return list(_problems("log", document, "$"))


def _problems(name: str, value: Any, where: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    required, properties = _OBJECTS[name]
    found = [f"{where} lacks {each}" for each in sorted(required - set(value))]
    for key, inner in value.items():
        place = f"{where}.{key}"
        kind = properties.get(key)
        if kind is None:
            found.append(f"{place} is no property of {name}")
        elif isinstance(kind, str):
            found += _problems(kind, inner, place)
        elif isinstance(kind, list):
            if not isinstance(inner, list):
                found.append(f"{place} is no list")
                continue
            for number, each in enumerate(inner):
                found += _problems(kind[0], each, f"{place}[{number}]")
        elif not _fits(kind, inner):
            found.append(f"{place} is {inner!r}")
    if name == "region" and (value.get("endLine"), value.get("endColumn")) < (
        value.get("startLine"), value.get("startColumn"),
    ):  # fmt: skip
        found.append(f"{where} ends before it starts")
    return found


def _fits(kind: tuple[type, str], value: Any) -> bool:
    if not isinstance(value, kind[0]) or isinstance(value, bool):
        return False
    if isinstance(value, dict):
        return kind[1] != "strings" or all(isinstance(each, str) for each in value.values())
    if isinstance(value, int):
        return value >= (1 if kind[1] == "one" else 0)
    text = str(value)
    match kind[1]:
        case "uri":
            return re.fullmatch(r"[a-z][a-z0-9+.-]*:\S+", text) is not None
        case "reference":
            return re.fullmatch(r"(?:[!#-;=?-\[\]_a-z~]|%[0-9A-Fa-f]{2})+", text) is not None
        case "":
            return True
        case choices:
            return text in choices.split("|")
