"""Release tracking: `config/mlflow_release.yaml` read and checked, and updated where it stands, comments and all.

Keys: `current_version`, `container_image`, `last_verified` (ISO date), `safety_cves`, `release_notes_url`,
`upgrade_status` (blocked, monitoring, queued, shipped), `mitigations`, `verification_checklist`; `owners` (role to
name), `watched` (versions to wait for), `freeze` (why nothing may change now). Others are kept.
"""

from __future__ import annotations

import datetime
import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packaging.version import InvalidVersion, Version
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from liftlock.pins import tokens
from liftlock.pins.document import Document, Edit
from liftlock.pins.model import BadFile, CannotParse
from liftlock.pins.yaml_scan import documents

_CVE = re.compile(r"(?:CVE-\d{4}-\d{4,}|GHSA(?:-[0-9a-z]{4}){3}|PYSEC-\d{4}-\d+)", re.IGNORECASE)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/+@-]*(?::[A-Za-z0-9/][A-Za-z0-9._/@:+-]*)*")
_LISTS = ("safety_cves", "mitigations", "verification_checklist", "watched")
_TEXTS = ("current_version", "container_image", "last_verified", "release_notes_url", "upgrade_status", "freeze")
_ROW = re.compile(
    rf"^(?P<head>[ \t]*\|[ \t]*[*_`]*{tokens.PACKAGE}[*_`]*[ \t]*\|[^|\r\n]*)"
    r"\|(?P<cves>[^|\r\n]*)\|(?P<status>[^|\r\n]*)\|",
    re.IGNORECASE | re.MULTILINE,
)


_Written = str | tuple[str, ...] | dict[str, str]


class UpgradeStatus(enum.StrEnum):
    """How far the upgrade to the version in the file has come."""

    BLOCKED = "blocked"
    MONITORING = "monitoring"
    QUEUED = "queued"
    SHIPPED = "shipped"


@dataclass(frozen=True)
class Tracking:
    """What the file says."""

    current_version: str = ""
    container_image: str = ""
    last_verified: str = ""
    safety_cves: tuple[str, ...] = ()
    release_notes_url: str = ""
    upgrade_status: UpgradeStatus | None = None
    mitigations: tuple[str, ...] = ()
    verification_checklist: tuple[str, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)
    watched: tuple[str, ...] = ()
    freeze: str = ""


@dataclass(frozen=True)
class Update:
    """What to write; None leaves a value as it is, and a role that is not named keeps its owner.

    `status` is the text of SECURITY.md's row.
    """

    container_image: str | None = None
    last_verified: str | None = None
    safety_cves: tuple[str, ...] | None = None
    release_notes_url: str | None = None
    upgrade_status: UpgradeStatus | None = None
    status: str | None = None
    mitigations: tuple[str, ...] | None = None
    verification_checklist: tuple[str, ...] | None = None
    owners: Mapping[str, str] | None = None
    watched: tuple[str, ...] | None = None
    freeze: str | None = None


def read(document: Document) -> Tracking:
    """The file's values. Raises BadFile, with the line, for a value that cannot be right."""
    values: dict[str, Any] = {}
    for name, (_, node) in _entries(document).items():
        line = document.line(node.start_mark.index)
        if name in _LISTS:
            if isinstance(node, SequenceNode) and all(isinstance(item, ScalarNode) for item in node.value):
                values[name] = tuple(item.value for item in node.value)
            elif not _is_empty(node):
                raise BadFile(document.path, line, f"{name} is not a list of texts")
        elif name in _TEXTS:
            if not isinstance(node, ScalarNode):
                raise BadFile(document.path, line, f"{name} is not a text")
            values[name] = "" if _is_empty(node) else node.value
            if reason := _wrong(name, values[name]):
                raise BadFile(document.path, line, reason)
        elif name == "owners" and not _is_empty(node):
            values[name] = _owners(document, node)
    for name, what in (("safety_cves", "no advisory's name"), ("watched", "no version")):
        for number, text in enumerate(values.get(name, ())):
            if not (_CVE.fullmatch(text) if name == "safety_cves" else tokens.is_tag(text)):
                node = _entries(document)[name][1].value[number]
                raise BadFile(document.path, document.line(node.start_mark.index), f"{text!r} is {what}")
    status = values.pop("upgrade_status", "")
    return Tracking(**values, upgrade_status=UpgradeStatus(status) if status else None)


def updated(document: Document, update: Update) -> Document:
    """The file with new values, in place; a key that is missing is added at the end. Read again and compared."""
    entries = _entries(document)
    wanted = _wanted(update)
    edits, missing = [], []
    for name, value in wanted.items():
        if name not in entries:
            missing.append(name)
        elif isinstance(value, dict):
            edits += _named(document.text, *entries[name], value)
        elif edit := _edit(document.text, *entries[name], value):
            edits.append(edit)
    result = document.edited(edits)
    if missing:
        newline = "\r\n" if "\r\n" in result.text else "\n"
        gap = "" if not result.text or result.text.endswith("\n") else newline
        added = "".join(f"{name}: {_written(wanted[name])}{newline}" for name in missing)
        result = result.with_text(result.text + gap + added)
    after = read(result)
    for name, value in wanted.items():
        now = getattr(after, name)
        same = {**now, **value} == now if isinstance(value, dict) else (now or "") == (value or "")
        if not same and (isinstance(value, dict) or tuple(now) != value):
            raise BadFile(document.path, 1, f"{name} could not be written without changing more than it")
    return result


def security_row(document: Document, update: Update) -> Document:
    """The table of SECURITY.md with the advisories and the status of MLflow's row; unchanged without such a row."""
    row = _ROW.search(document.text)
    if row is None:
        return document
    edits = []
    if update.safety_cves is not None:
        edits.append(_cell(row, "cves", " / ".join(update.safety_cves) or "none"))
    if update.status is not None:
        edits.append(_cell(row, "status", update.status))
    return document.edited(edits)


def _cell(row: re.Match[str], group: str, text: str) -> Edit:
    start, end = row.span(group)
    return Edit(start, end, f" {' '.join(text.split()).replace('|', '/')} ")


def _wanted(update: Update) -> dict[str, _Written]:
    values: dict[str, _Written | None] = {
        "container_image": update.container_image,
        "last_verified": update.last_verified,
        "safety_cves": update.safety_cves,
        "release_notes_url": update.release_notes_url,
        "upgrade_status": update.upgrade_status.value if update.upgrade_status else None,
        "mitigations": update.mitigations,
        "verification_checklist": update.verification_checklist,
        "owners": dict(update.owners) if update.owners is not None else None,
        "watched": update.watched,
        "freeze": update.freeze,
    }
    return {name: value for name, value in values.items() if value is not None}


def _entries(document: Document) -> dict[str, tuple[ScalarNode, Any]]:
    """Key and value nodes of the mapping that the file is."""
    try:
        roots = documents(document.text)
    except CannotParse as error:
        raise BadFile(document.path, error.line, error.reason) from None
    if len(roots) != 1 or not isinstance(roots[0], MappingNode):
        raise BadFile(document.path, 1, "not one mapping of keys to values")
    return {key.value: (key, value) for key, value in roots[0].value if isinstance(key, ScalarNode)}


def _owners(document: Document, node: Any) -> dict[str, str]:
    """Role to name. Raises BadFile."""
    line = document.line(node.start_mark.index)
    if not isinstance(node, MappingNode):
        raise BadFile(document.path, line, "owners is not a mapping of roles to names")
    for key, value in node.value:
        if not isinstance(key, ScalarNode) or not isinstance(value, ScalarNode):
            raise BadFile(document.path, document.line(key.start_mark.index), "an owner is one name")
    return {key.value: "" if _is_empty(value) else value.value for key, value in node.value}


def _named(text: str, key: ScalarNode, node: Any, owners: dict[str, str]) -> list[Edit]:
    """Edits that give roles their owners: in place, new ones behind the last."""
    if not isinstance(node, MappingNode) or not node.value:
        start, end = node.start_mark.index, node.end_mark.index
        return [_after_colon(text, key, _written(owners)) if start == end else Edit(start, end, _written(owners))]
    known = {each.value: (each, value) for each, value in node.value}
    edits = [
        edit for role, name in owners.items() if role in known and (edit := _edit(text, *known[role], name)) is not None
    ]
    new = {role: name for role, name in owners.items() if role not in known}
    role, name = node.value[-1]
    last = (role if name.start_mark.index == name.end_mark.index else name).end_mark.index  # an empty one has no place
    if node.flow_style:
        edits += [Edit(last, last, "".join(f", {_written(role)}: {_written(name)}" for role, name in new.items()))]
    elif new:
        first = node.value[0][0].start_mark.index
        indent = text[text.rfind("\n", 0, first) + 1 : first]
        stop = text.find("\n", last)
        at = len(text) if stop < 0 else stop + 1
        newline = "\r\n" if "\r\n" in text else "\n"
        lines = "".join(f"{indent}{_written(role)}: {_written(name)}{newline}" for role, name in new.items())
        edits.append(Edit(at, at, lines if stop >= 0 else newline + lines.removesuffix(newline)))
    return edits


def _is_empty(node: Any) -> bool:
    return isinstance(node, ScalarNode) and node.value in ("", "null", "~")


def _wrong(name: str, value: str) -> str:
    """Why a value cannot be right, or nothing."""
    if not value:
        return ""
    try:
        if name == "current_version":
            Version(value)
        elif name == "last_verified":
            datetime.date.fromisoformat(value)
        elif name == "upgrade_status":
            UpgradeStatus(value)
        elif name == "release_notes_url" and not value.startswith(("https://", "http://")):
            return f"{value!r} is no address"
    except (InvalidVersion, ValueError):
        known = f"; it is one of {', '.join(UpgradeStatus)}" if name == "upgrade_status" else ""
        return f"{name} cannot be {value!r}{known}"
    return ""


def _edit(text: str, key: ScalarNode, node: Any, value: str | tuple[str, ...]) -> Edit | None:
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(value, str):
        if isinstance(node, ScalarNode) and node.value == value:
            return None
        quote = text[start] if start < end and text[start] in "'\"" else ""
        written = f"{quote}{value}{quote}" if quote and not set(value) & set("'\"\\") else _written(value)
        return Edit(start, end, written) if end > start else _after_colon(text, key, written)
    if isinstance(node, SequenceNode) and not node.flow_style and node.value and value:
        return _block(text, node, value)
    if start == end:
        return _after_colon(text, key, _written(value))
    if isinstance(node, SequenceNode) and not node.flow_style:  # every line of the list goes
        last = node.value[-1].end_mark.index
        return Edit(key.end_mark.index, last, f": {_written(value)}")
    return Edit(start, end, _written(value))


def _block(text: str, node: SequenceNode, value: tuple[str, ...]) -> Edit | None:
    """Lines of a block list: those whose value stays are kept with their comments, new ones come after the last."""
    if tuple(item.value for item in node.value) == value:
        return None
    lines = []
    for item in node.value:
        begin = text.rfind("\n", 0, item.start_mark.index) + 1
        stop = text.find("\n", item.end_mark.index)
        lines.append((item, begin, len(text) if stop < 0 else stop + 1))
    first, last = lines[0], lines[-1]
    lead = text[first[1] : first[0].start_mark.index]
    newline = "\r\n" if text[first[1] : first[2]].endswith("\r\n") else "\n"
    old = {item.value: text[begin:stop] for item, begin, stop in lines}
    pieces = [old.get(each) or f"{lead}{_written(each)}{newline}" for each in value]
    pieces = [piece if piece.endswith("\n") else piece + newline for piece in pieces]
    joined = "".join(pieces)
    return Edit(first[1], last[2], joined if text[: last[2]].endswith("\n") else joined.removesuffix(newline))


def _after_colon(text: str, key: ScalarNode, written: str) -> Edit:
    colon = text.index(":", key.end_mark.index)
    return Edit(colon + 1, colon + 1, f" {written}")


def _written(value: _Written) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_written(role)}: {_written(name)}' for role, name in value.items())}}}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
