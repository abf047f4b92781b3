"""Known flaws of the packages beside MLflow: what `pip-audit` said of a locked set. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from liftlock.errors import UsageError
from liftlock.knowledge import advisories
from liftlock.model.codec import Value, from_json

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)", re.MULTILINE)


class Flaw(Value, frozen=True):
    """One flaw of one package at one version; `fixes` are versions that have it no more (empty: none is known)."""

    package: str
    version: str
    id: str
    aliases: tuple[str, ...]
    fixes: tuple[str, ...]
    summary: str


class Audit(Value, frozen=True):
    """What is known of one set of packages. `unknown` maps a package that could not be asked about to the reason."""

    packages: int
    flaws: tuple[Flaw, ...]
    unknown: dict[str, str]


class Change(Value, frozen=True):
    """A flaw over a change of sets: fixed, left, gained, or unknown: the other set could not be asked about it."""

    what: str
    flaw: Flaw


def pins(lock: str) -> dict[str, str]:
    """Package -> version of every pin in a lock or a list of requirements; direct references have no version to ask."""
    return {found["name"].lower().replace("_", "-"): found["version"] for found in _PIN.finditer(lock)}


class _Vulnerability(msgspec.Struct):
    id: str
    fix_versions: list[str]
    aliases: list[str] = []
    description: str = ""


class _Dependency(msgspec.Struct):
    name: str
    version: str = ""
    vulns: list[_Vulnerability] = []
    skip_reason: str = ""


class _Output(msgspec.Struct):
    dependencies: list[_Dependency]


def parse(text: str | bytes, wanted: Mapping[str, str]) -> Audit:
    """What `pip-audit --format json` printed about these pins. A pin it does not mention is unknown.

    Raises UsageError when the text is not that.
    """
    try:
        found = from_json(text, _Output)
    except ValueError as error:
        raise UsageError(f"pip-audit's answer cannot be read: {error}") from error
    flaws: list[Flaw] = []
    unknown = dict.fromkeys(wanted, "pip-audit did not mention it")
    for entry in found.dependencies:
        name = entry.name.lower().replace("_", "-")
        if entry.skip_reason:
            unknown[name] = entry.skip_reason
            continue
        unknown.pop(name, None)
        flaws += [
            Flaw(
                package=name, version=entry.version, id=each.id, aliases=tuple(each.aliases),
                fixes=tuple(each.fix_versions), summary=each.description.strip().partition("\n")[0][:160],
            )
            for each in entry.vulns
        ]  # fmt: skip
    return Audit(
        packages=len(wanted), flaws=tuple(sorted(flaws, key=lambda each: (each.package, each.id))),
        unknown=dict(sorted(unknown.items())),
    )  # fmt: skip


def with_osv(audit: Audit, wanted: Mapping[str, str], paths: Sequence[Path]) -> Audit:
    """The audit with what OSV files say of these pins. A package they do not mention stays as unknown as it was: a file
    that somebody chose is no database. Raises UsageError for a malformed file."""
    found = {(each.package, each.id): each for each in audit.flaws}
    named = {name for each in audit.flaws for name in (each.id, *each.aliases)}
    for path in paths:
        for name in sorted(_mentioned(path) & wanted.keys() - {"mlflow"}):
            for entry in advisories.read_osv(path, name):
                if not entry.names & named and _affected(entry, wanted[name]):
                    found[name, entry.id] = Flaw(
                        package=name, version=wanted[name], id=entry.id, aliases=entry.aliases,
                        fixes=tuple(each.fixed for each in entry.affected if each.fixed), summary=entry.title[:160],
                    )  # fmt: skip
    return msgspec.structs.replace(audit, flaws=tuple(found[key] for key in sorted(found)))


def _mentioned(path: Path) -> set[str]:
    packages = (
        affected.get("package", {}) for entry in advisories.osv_entries(path) for affected in entry.get("affected", ())
    )
    return {str(package.get("name", "")).lower().replace("_", "-") for package in packages}


def _affected(entry: advisories.Advisory, version: str) -> bool:
    try:
        return any(each.holds(Version(version)) for each in entry.affected)
    except InvalidVersion:
        return True  # a version nobody can compare is not harmless


def unasked(wanted: Mapping[str, str], reason: str) -> Audit:
    """The audit of a set nobody could be asked about."""
    return Audit(packages=len(wanted), flaws=(), unknown=dict.fromkeys(sorted(wanted), reason))


def changes(before: Audit, after: Audit) -> tuple[Change, ...]:
    """What going from one set to another does to their flaws: gained first, then left, unknown and fixed."""
    old = {(each.package, each.id): each for each in before.flaws}
    new = {(each.package, each.id): each for each in after.flaws}
    found = []
    for key, flaw in new.items():
        what = "left" if key in old else "unknown" if key[0] in before.unknown else "gained"
        found.append(Change(what=what, flaw=flaw))
    for key, flaw in old.items():
        if key not in new:
            found.append(Change(what="unknown" if key[0] in after.unknown else "fixed", flaw=flaw))
    order = {"gained": 0, "left": 1, "unknown": 2, "fixed": 3}
    return tuple(sorted(found, key=lambda each: (order[each.what], each.flaw.package, each.flaw.id)))
