"""Security advisories: which a release has, whether a deployment is really exposed, and what a hop changes.

The table is `data/advisories.toml`; OSV files can be added. Nothing here asks the network, so nothing here is newer
than its date. What cannot be told is UNKNOWN, never "not affected".
"""

from __future__ import annotations

import enum
import functools
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from liftlock.errors import UsageError
from liftlock.model.codec import Value, from_builtins
from liftlock.model.deployment import Deployment
from liftlock.model.release import Release
from liftlock.model.uri import Engine

_JOBS = Release(version="3.5.0")
_JOBS_ON = Release(version="3.9.0")
_PROXY_ON = Release(version="2.0.1")


class State(enum.StrEnum):
    """Whether a deployment is open to an advisory."""

    NOT_AFFECTED = "not affected"
    NOT_EXPOSED = "not exposed"
    ACCEPTED = "accepted"
    EXPOSED = "exposed"
    UNKNOWN = "unknown"


class Range(Value, frozen=True):
    """Versions from `introduced` (0: the first) up to, not including, `fixed`; or up to and including `last`.

    `unsure`: nobody says whether versions after `last` have the flaw.
    """

    introduced: str = "0"
    fixed: str | None = None
    last: str | None = None
    unsure: bool = False

    def holds(self, version: Version) -> bool:
        """Whether a version lies in the range."""
        if version < Version(self.introduced):
            return False
        if self.fixed is not None:
            return version < Version(self.fixed)
        return self.last is None or version <= Version(self.last)


class Advisory(Value, frozen=True):
    """One advisory. `affected` empty: the affected releases are not known. `needs` must all hold to be exposed."""

    id: str
    title: str
    affected: tuple[Range, ...]
    confidence: str
    source: str
    aliases: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    note: str = ""

    def affects(self, release: Release) -> bool | None:
        """Whether a release has the flaw; None when that is not known."""
        if any(each.holds(release.key) for each in self.affected):
            return True
        beyond = any(each.unsure and release.key > Version(each.last or "0") for each in self.affected)
        return None if beyond or not self.affected else False

    @property
    def names(self) -> frozenset[str]:
        """The id and its aliases."""
        return frozenset({self.id, *self.aliases})


class Accepted(Value, frozen=True):
    """A risk somebody took on: `id` of the advisory, who, why, and the last day it holds."""

    id: str
    owner: str
    reason: str
    expires: date


class Verdict(Value, frozen=True):
    """Whether one release of a deployment is open to one advisory, and why."""

    state: State
    why: str


class Row(Value, frozen=True):
    """One advisory over a hop: `change` is fixed, left or gained; `fix_in_line` the first release with the fix that
    stays in the old release's major version (None: there is none, or it is not known)."""

    advisory: Advisory
    change: str
    before: Verdict
    after: Verdict
    fix_in_line: Release | None = None


class Report(Value, frozen=True):
    """All advisories that concern either end of a hop, and the date of the data."""

    source: Release
    target: Release
    as_of: str
    rows: tuple[Row, ...]

    @property
    def needs_attention(self) -> bool:
        """Whether the target is exposed to something, or may be."""
        return any(row.after.state in (State.EXPOSED, State.UNKNOWN) for row in self.rows)


class Table(Value, frozen=True):
    """The curated table."""

    format: int
    as_of: str
    conditions: dict[str, str]
    advisory: tuple[Advisory, ...]


@functools.cache
def load() -> Table:
    """The shipped table, checked: every condition named is explained, every id is there once."""
    text = resources.files("liftlock.knowledge").joinpath("data/advisories.toml").read_text(encoding="utf-8")
    return parse(text, "advisories.toml")


def parse(text: str, name: str) -> Table:
    """A table from TOML text. Raises UsageError with the place and the reason."""
    try:
        table = from_builtins(tomllib.loads(text), Table)
        for entry in table.advisory:
            _check(entry)
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from error
    seen: set[str] = set()
    for entry in table.advisory:
        if missing := set(entry.needs) - table.conditions.keys():
            raise UsageError(f"{name}: {entry.id} needs {', '.join(sorted(missing))}, which is not explained")
        if double := seen & entry.names:
            raise UsageError(f"{name}: {', '.join(sorted(double))} is there twice")
        seen |= entry.names
    return table


def _check(entry: Advisory) -> None:
    for each in entry.affected:
        for version in (each.introduced, each.fixed, each.last):
            try:
                Version(version or "0")
            except InvalidVersion:
                raise ValueError(f"{entry.id}: {version!r} is not a version") from None


def read_osv(path: Path, package: str = "mlflow") -> tuple[Advisory, ...]:
    """The advisories about a package in an OSV file (one object or a list of them); withdrawn ones are left out.

    Raises UsageError with the file, and the line where it is not JSON.
    """
    found = []
    for line, entry in osv_lines(path):
        try:
            if (advisory := _from_osv(entry, path.name, package)) is not None:
                _check(advisory)
                found.append(advisory)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise UsageError(f"{path}, line {line}: {entry['id']}: {error}") from error
    return tuple(found)


def osv_entries(path: Path) -> tuple[dict[str, Any], ...]:
    """The entries of an OSV file that are not withdrawn. Raises as `read_osv` does."""
    return tuple(entry for _, entry in osv_lines(path))


def osv_lines(path: Path) -> tuple[tuple[int, dict[str, Any]], ...]:
    """The entries of an OSV file that are not withdrawn, each with the line it begins on. Raises as `read_osv` does."""
    try:
        entries = _entries(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}, line {error.lineno}: {error.msg}", hint="It must be an OSV file (JSON).") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}") from error
    found = []
    for line, entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("id"), str):
            raise UsageError(f"{path}, line {line}: an entry has no id", hint="It must be an OSV file (JSON).")
        if entry.get("withdrawn"):
            continue
        found.append((line, entry))
    return tuple(found)


def _entries(text: str) -> list[tuple[int, Any]]:
    """What a JSON text holds: the items of a list, or the one thing it is, each with the line it begins on."""
    data = json.loads(text)
    if not isinstance(data, list):
        return [(1, data)]
    found, at, decoder = [], text.index("[") + 1, json.JSONDecoder()
    for _ in data:
        at += len(text[at:]) - len(text[at:].lstrip(" \t\r\n,"))
        line = text.count("\n", 0, at) + 1
        item, at = decoder.raw_decode(text, at)
        found.append((line, item))
    return found


def _from_osv(entry: Mapping[str, Any], name: str, package: str) -> Advisory | None:
    packages = [
        each for each in entry.get("affected", ())
        if str(each.get("package", {}).get("name", "")).lower().replace("_", "-") == package
        and each["package"].get("ecosystem", "PyPI") == "PyPI"
    ]  # fmt: skip
    if not packages:
        return None
    ranges: list[Range] = []
    for affected in packages:
        for each in affected.get("ranges", ()):
            if each.get("type") in ("ECOSYSTEM", "SEMVER"):
                ranges += _events(each.get("events", ()))
        if not affected.get("ranges"):
            ranges += [Range(introduced=version, last=version) for version in affected.get("versions", ())]
    return Advisory(
        id=entry["id"], aliases=tuple(entry.get("aliases", ())), affected=tuple(ranges), confidence="imported",
        title=str(entry.get("summary") or str(entry.get("details", "")).partition("\n")[0])[:200], source=name,
    )  # fmt: skip


def _events(events: Iterable[Mapping[str, str]]) -> list[Range]:
    ranges: list[Range] = []
    introduced: str | None = None
    for event in events:
        if "introduced" in event:
            introduced = event["introduced"]
        elif introduced is not None and ("fixed" in event or "last_affected" in event):
            ranges.append(Range(introduced=introduced, fixed=event.get("fixed"), last=event.get("last_affected")))
            introduced = None
    if introduced is not None:
        ranges.append(Range(introduced=introduced))
    return ranges


def merged(table: Sequence[Advisory], imported: Sequence[Advisory]) -> tuple[Advisory, ...]:
    """The table with imported advisories: their ranges replace the table's, whose title and conditions stay."""
    rows = list(table)
    for new in imported:
        for number, old in enumerate(rows):
            if old.names & new.names:
                rows[number] = Advisory(
                    id=old.id, aliases=tuple(sorted((old.names | new.names) - {old.id})), needs=old.needs,
                    title=new.title if "unknown" in old.needs else old.title, affected=new.affected or old.affected,
                    confidence=new.confidence, source=f"{new.source}; {old.source}", note=old.note,
                )  # fmt: skip
                break
        else:
            rows.append(new)
    return tuple(rows)


def read_accepted(path: Path) -> tuple[Accepted, ...]:
    """Accepted risks from TOML (`[[accepted]]` with id, owner, reason, expires). Raises UsageError."""

    class _File(Value, frozen=True):
        accepted: tuple[Accepted, ...] = ()

    text = ""
    try:
        text = path.read_text(encoding="utf-8")
        found = from_builtins(tomllib.loads(text), _File).accepted
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, UnicodeDecodeError) as error:
        where = re.search(r"\$\.accepted\[(\d+)\]", str(error))
        said = f"{path}, line {_header(text, int(where[1]))}: {error}" if where else f"{path}: {error}"
        raise UsageError(said, hint="Each [[accepted]] needs id, owner, reason and expires.") from error
    for number, entry in enumerate(found):
        if not entry.owner.strip() or not entry.reason.strip():
            raise UsageError(f"{path}, line {_header(text, number)}: {entry.id} has no owner or no reason")
    return found


def _header(text: str, number: int) -> int:
    """The line of the `[[accepted]]` with this number, counted from 0."""
    lines = [at for at, line in enumerate(text.splitlines(), 1) if line.strip().startswith("[[accepted]]")]
    return lines[number] if number < len(lines) else 1


def conditions_of(deployment: Deployment, release: Release | None = None) -> dict[str, bool]:
    """The conditions that a deployment's own facts answer; those not in the answer are not known.

    `release` is the release to judge for, because defaults changed (default: the one that runs).
    """
    server = deployment.server
    release = release or server.release
    words = {word.partition("=")[0] for word in server.arguments}
    jobs = server.environment.get("MLFLOW_SERVER_ENABLE_JOB_EXECUTION")
    proxied = "--serve-artifacts" in words or (release >= _PROXY_ON and "--no-serve-artifacts" not in words)
    on = jobs.lower() in ("true", "1") if jobs is not None else release >= _JOBS_ON
    return {
        "basic-auth": (server.app_name or "").startswith("basic-auth"), "jobs": release >= _JOBS and on,
        "file-store": not any(store.engine in (Engine.SQLITE, Engine.POSTGRESQL) for store in deployment.stores),
        "artifact-proxy": proxied,
    }  # fmt: skip


def judge(
    advisory: Advisory, release: Release, conditions: Mapping[str, bool], accepted: Sequence[Accepted] = (),
    today: date | None = None,
) -> Verdict:  # fmt: skip
    """Whether a deployment of a release is open to an advisory. `conditions` that are missing are not known."""
    affected = advisory.affects(release)
    if affected is False:
        return Verdict(state=State.NOT_AFFECTED, why=f"MLflow {release} does not have it")
    off = [need for need in advisory.needs if conditions.get(need) is False]
    if off:
        return Verdict(state=State.NOT_EXPOSED, why=f"needs {off[0]}, which does not hold here")
    taken = next((each for each in accepted if each.id in advisory.names), None)
    lapsed = ""
    if taken is not None:
        if today is None or today <= taken.expires:
            why = f"accepted by {taken.owner} until {taken.expires}: {taken.reason}"
            return Verdict(state=State.ACCEPTED, why=why)
        lapsed = f"; the acceptance by {taken.owner} ended on {taken.expires}"
    if affected is None:
        return Verdict(state=State.UNKNOWN, why=f"which releases have it is not known{lapsed}")
    open_questions = [need for need in advisory.needs if need not in conditions]
    if open_questions:
        return Verdict(state=State.UNKNOWN, why=f"open if this holds: {', '.join(open_questions)}{lapsed}")
    held = f" with {', '.join(advisory.needs)}" if advisory.needs else ""
    return Verdict(state=State.EXPOSED, why=f"MLflow {release}{held} has it{lapsed}")


def report(
    source: Release, target: Release, *, advisories: Sequence[Advisory], as_of: str, known: Sequence[Release],
    before: Mapping[str, bool], after: Mapping[str, bool], accepted: Sequence[Accepted] = (), today: date | None = None,
) -> Report:  # fmt: skip
    """What a hop changes. `known` are all releases, to find a fix in the same line; the others are conditions."""
    rows = []
    for advisory in advisories:
        then = judge(advisory, source, before, accepted, today)
        now = judge(advisory, target, after, accepted, today)
        had, has = advisory.affects(source), advisory.affects(target)
        if had is False and has is False:
            continue
        change = "fixed" if has is False else "gained" if had is False else "left"
        rows.append(
            Row(advisory=advisory, change=change, before=then, after=now, fix_in_line=_fix(advisory, source, known))
        )
    order = {"gained": 0, "left": 1, "fixed": 2}
    rows.sort(key=lambda row: (order[row.change], _urgency(row), row.advisory.id))
    return Report(source=source, target=target, as_of=as_of, rows=tuple(rows))


def _urgency(row: Row) -> int:
    """What is open comes first, then what may be: afterwards, or before where the hop fixes it."""
    state = row.before.state if row.change == "fixed" else row.after.state
    return {State.EXPOSED: 0, State.UNKNOWN: 1}.get(state, 2)


def _fix(advisory: Advisory, source: Release, known: Sequence[Release]) -> Release | None:
    if not advisory.affects(source):
        return None
    line = [each for each in known if each > source and each.key.major == source.key.major]
    return next((each for each in sorted(line) if advisory.affects(each) is False), None)
