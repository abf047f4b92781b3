"""`releases watch`: is the tracking file true, and is there a release that fixes what it lists as open."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from liftlock import clock, files
from liftlock.app.catalogue import current
from liftlock.app.notify import tell
from liftlock.app.workspace import Workspace
from liftlock.describe.config import Config
from liftlock.effects import side_effect
from liftlock.engine.lock import operator
from liftlock.errors import ReleaseError, UsageError
from liftlock.knowledge import advisories
from liftlock.knowledge.advisories import Advisory
from liftlock.knowledge.catalogue import Catalogue
from liftlock.model.codec import Value, from_json, to_json
from liftlock.model.finding import Finding, Outcome, Severity
from liftlock.model.progress import Observer, silent
from liftlock.model.release import Release
from liftlock.notify.message import Event
from liftlock.notify.send import Told
from liftlock.pins.document import Document, conflict_line
from liftlock.pins.model import BadFile
from liftlock.pins.tracking import Tracking, UpgradeStatus, read
from liftlock.releases.environment import default_cache
from liftlock.releases.index import Index

DEFAULT = "config/mlflow_release.yaml"
_VERSION = re.compile(r"\d+(?:\.\d+)+(?:rc\d+|\.?dev\d+)?")


class State(Value, frozen=True):
    """The tracking file's values at one moment, as somebody found them: a line of its history."""

    at: datetime
    by: str
    current_version: str
    container_image: str
    upgrade_status: str
    safety_cves: tuple[str, ...]
    last_verified: str


@dataclass(frozen=True)
class Watched:
    """Whether the file is true, what is new (each also a finding), and who was told of what is new."""

    file: Path
    tracking: Tracking
    findings: tuple[Finding, ...]
    news: tuple[Finding, ...]
    told: tuple[Told, ...]


@dataclass(frozen=True)
class Options:
    """`file`: the tracking file (default: that of [tracking]). `index`: also ask the package index for releases.
    `osv`: files with further advisories. `notify`: tell what was not told before.
    """

    file: Path | None = None
    index: bool = False
    osv: tuple[Path, ...] = ()
    notify: bool = False


def watch(workspace: Workspace | None, options: Options, *, observer: Observer = silent) -> Watched:
    """Read the file and judge it. Without a workspace nothing is remembered and nobody is told.

    Raises UsageError (BadFile with file and line) for a file that cannot be read, IndexUnreachable.
    """
    config = workspace.config if workspace else None
    path = _place(config, options.file)
    tracking = _read(path)
    catalogue, _ = current()
    known = set(catalogue.releases)
    if options.index:
        known |= set(Index(default_cache()).available(observer))
    finals = sorted(each for each in known if not each.is_prerelease)
    table = advisories.load().advisory
    every = advisories.merged(table, [each for file in options.osv for each in advisories.read_osv(file)])
    found = tuple(_true(tracking, config, catalogue, finals, every, clock.now().date()))
    news = tuple(_news(tracking, config, finals, every))
    told: tuple[Told, ...] = ()
    if workspace is not None:
        _remember(workspace, tracking)
        if options.notify:
            told = _tell(workspace, news, observer)
    return Watched(path, tracking, found, news, told)


def history(workspace: Workspace) -> tuple[State, ...]:
    """Every state of the tracking file that `watch` has seen, oldest first. Raises UsageError when it is damaged."""
    path = _history(workspace)
    lines = path.read_bytes().splitlines() if path.exists() else []
    try:
        return tuple(from_json(line, State) for line in lines)
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}", hint="Move it away to begin anew.") from error


def _place(config: Config | None, file: Path | None) -> Path:
    if file is not None:
        return file
    if config is not None:
        return config.directory / (config.tracking.file if config.tracking else DEFAULT)
    return Path(DEFAULT)


def _read(path: Path) -> Tracking:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="Name the tracking file with --file, or in [tracking] of liftlock.toml.",
        ) from error
    document = Document.decode(str(path), raw)
    if document is None:
        raise BadFile(str(path), 1, "it is not text")
    if line := conflict_line(document.text):
        raise BadFile(str(path), line, "an unfinished merge")
    return read(document)


def _true(
    tracking: Tracking, config: Config | None, catalogue: Catalogue, finals: Sequence[Release],
    every: Sequence[Advisory], today: date,
) -> Iterator[Finding]:  # fmt: skip
    """Every question about the file itself."""
    if not tracking.current_version:
        yield _bad("LLT001", "current version", "the file names none", severity=Severity.ERROR)
        return
    release = Release.parse(tracking.current_version)
    try:
        catalogue.require(release)
    except ReleaseError as error:
        yield _bad("LLT001", "current version", error.message, hint=error.hint)
    else:
        yield _good("LLT001", "current version", f"MLflow {release} is a release")
    if config is not None:
        runs = config.release
        same = runs == release
        yield (
            _good("LLT002", "deployment", f"runs MLflow {runs}")
            if same
            else _bad("LLT002", "deployment", f"liftlock.toml says MLflow {runs}, the file {release}")
        )
    yield _image(tracking, release)
    yield from _advisories(tracking, release, finals, every)
    yield _notes(tracking, release)
    yield _verified(tracking, today)
    yield _status(tracking, every, release)
    if tracking.freeze:
        yield Finding(code="LLT011", title="freeze", outcome=Outcome.SKIPPED, message=tracking.freeze)
    if config is not None:
        yield _checklist(tracking, config)
    owners = {**tracking.owners, **(config.notify.owners if config and config.notify else {})}
    if config is not None or owners:
        lacking = [role for role in ("dri", "backup") if not owners.get(role, "").strip()]
        hint = "Name them in [notify.owners], or with pin --owner."
        yield (
            _bad("LLT010", "owners", f"nobody is named as {' and '.join(lacking)}", hint=hint)
            if lacking
            else _good("LLT010", "owners", ", ".join(f"{role}: {name}" for role, name in owners.items()))
        )


def _image(tracking: Tracking, release: Release) -> Finding:
    image = tracking.container_image
    if not image:
        return Finding(code="LLT003", title="image", outcome=Outcome.SKIPPED, message="the file names none")
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    named = _VERSION.search(tag)
    if named is None:
        return _bad("LLT003", "image", f"{image} names no version" if tag else f"{image} has no tag")
    if Version(named.group()) != release.key:
        return _bad("LLT003", "image", f"{image} is not MLflow {release}")
    return _good("LLT003", "image", image)


def _advisories(
    tracking: Tracking, release: Release, finals: Sequence[Release], every: Sequence[Advisory]
) -> Iterator[Finding]:
    listed = set()
    for name in tracking.safety_cves:
        advisory = _named(name, every)
        if advisory is None:
            yield Finding(
                code="LLT004", title=name, outcome=Outcome.UNKNOWN, severity=Severity.WARNING,
                message="the table of advisories does not know it", hint="Add it as an OSV file: --osv FILE",
            )  # fmt: skip
            continue
        listed.add(advisory.id)
        has = advisory.affects(release)
        if has is False:
            yield _bad("LLT004", name, f"MLflow {release} does not have it any more: take it off the list")
        elif has is None:
            yield Finding(
                code="LLT004", title=name, outcome=Outcome.UNKNOWN, severity=Severity.WARNING,
                message="which releases have it is not known",
            )  # fmt: skip
        else:
            yield _good("LLT004", name, f"MLflow {release} has it, and the file says so")
    more = [each for each in every if each.id not in listed and each.affects(release)]
    if not more:
        yield _good("LLT005", "other advisories", "none that the file does not list")
        return
    # What no release fixes yet is nothing to do: worth a line, not an alarm every night.
    fixed = any(_fix(each, release, finals) for each in more)
    yield _bad(
        "LLT005", "other advisories", f"MLflow {release} has {len(more)} more: {', '.join(each.id for each in more)}",
        hint="`liftlock advisories` says which are open in your configuration; list those, or say why not.",
        severity=Severity.WARNING if fixed else Severity.INFO,
    )  # fmt: skip


def _notes(tracking: Tracking, release: Release) -> Finding:
    address = tracking.release_notes_url
    if not address:
        return Finding(code="LLT006", title="release notes", outcome=Outcome.SKIPPED, message="the file names none")
    versions = [text for text in _VERSION.findall(address) if _is(text)]
    if versions and all(Version(text) != release.key for text in versions):
        return _bad("LLT006", "release notes", f"{address} is about {versions[-1]}")
    return _good("LLT006", "release notes", address)


def _is(text: str) -> bool:
    try:
        Version(text)
    except InvalidVersion:
        return False
    return True


def _verified(tracking: Tracking, today: date) -> Finding:
    if not tracking.last_verified:
        return _bad("LLT007", "last verified", "never", hint="liftlock evidence record --checklist")
    day = date.fromisoformat(tracking.last_verified)
    if day > today:
        return _bad("LLT007", "last verified", f"{day} lies ahead")
    return _good("LLT007", "last verified", str(day))


def _status(tracking: Tracking, every: Sequence[Advisory], release: Release) -> Finding:
    status = tracking.upgrade_status
    has = [
        name for name in tracking.safety_cves if (a := _named(name, every)) is None or a.affects(release) is not False
    ]
    if status is None:
        return _bad("LLT008", "upgrade status", "the file says none")
    if status in (UpgradeStatus.SHIPPED, UpgradeStatus.BLOCKED) and has and not tracking.mitigations:
        return _bad("LLT008", "upgrade status", f"{status.value} with {', '.join(has)} open and no mitigation named")
    if status is UpgradeStatus.SHIPPED and not tracking.last_verified:
        return _bad("LLT008", "upgrade status", "shipped, but never verified")
    return _good("LLT008", "upgrade status", status.value)


def _checklist(tracking: Tracking, config: Config) -> Finding:
    commands = {each.name for each in config.tracking.checks} if config.tracking else set()
    without = [entry for entry in tracking.verification_checklist if entry not in commands]
    if without:
        return _bad(
            "LLT009", "checklist", f"no command proves: {'; '.join(without)}",
            hint="Give each a [[tracking.checks]] of the same name in liftlock.toml.",
        )  # fmt: skip
    return _good("LLT009", "checklist", f"{len(tracking.verification_checklist)} entries, each with a command")


def _news(
    tracking: Tracking, config: Config | None, finals: Sequence[Release], every: Sequence[Advisory]
) -> Iterator[Finding]:
    """What somebody waits for and is there."""
    if not tracking.current_version:
        return
    release = Release.parse(tracking.current_version)
    for name in tracking.safety_cves:
        advisory = _named(name, every)
        if advisory is None or not advisory.affects(release):
            continue
        fixed = _fix(advisory, release, finals)
        if fixed is not None:
            yield _bad(
                "LLT020", name, f"MLflow {fixed} fixes it: {advisory.title}", hint=f"liftlock plan --to {fixed}"
            )  # fmt: skip
    for text in dict.fromkeys((*tracking.watched, *(config.tracking.watched if config and config.tracking else ()))):
        wanted = Release.parse(text)
        if wanted > release and wanted in finals:
            yield _bad("LLT021", f"MLflow {wanted}", "it is there", hint=f"liftlock plan --to {wanted}")


def _fix(advisory: Advisory, release: Release, finals: Sequence[Release]) -> Release | None:
    """The first later release that does not have it."""
    return next((each for each in finals if each > release and advisory.affects(each) is False), None)


def _named(name: str, every: Sequence[Advisory]) -> Advisory | None:
    return next((each for each in every if name.upper() in {other.upper() for other in each.names}), None)


def _remember(workspace: Workspace, tracking: Tracking) -> None:
    """Add a line to the history when the file says something else than when it was last seen."""
    seen = history(workspace)
    state = State(
        at=clock.now(), by=operator(), current_version=tracking.current_version,
        container_image=tracking.container_image, upgrade_status=(tracking.upgrade_status or ""),
        safety_cves=tracking.safety_cves, last_verified=tracking.last_verified,
    )  # fmt: skip
    if seen and msgspec.structs.replace(seen[-1], at=state.at, by=state.by) == state:
        return
    with side_effect("remember tracking"):
        lines = "".join(f"{to_json(each)}\n" for each in (*seen, state))
        files.write_atomic(workspace.state / "tracking.jsonl", lines)


def _history(workspace: Workspace) -> Path:
    return workspace.config.state_directory / "tracking.jsonl"


def _tell(workspace: Workspace, news: Sequence[Finding], observer: Observer) -> tuple[Told, ...]:
    """Tell what was not told before; it counts as told when every receiver took it."""
    path = workspace.state / "watch-told.json"
    try:
        before = set(from_json(path.read_bytes(), tuple[str, ...])) if path.exists() else set()
    except ValueError:
        before = set()  # telling once more is better than never
    lines = [f"{each.title}: {each.message}" for each in news]
    fresh = [line for line in lines if line not in before]
    if not fresh:
        return ()
    told = tell(workspace, Event.RELEASE, "\n".join(fresh), observer=observer)
    if told and not any(each.problem for each in told):
        with side_effect("remember what was told"):
            files.write_atomic(path, to_json(tuple(lines)))
    return told


def _good(code: str, title: str, message: str) -> Finding:
    return Finding(code=code, title=title, outcome=Outcome.PASS, message=message)


def _bad(code: str, title: str, message: str, *, hint: str = "", severity: Severity = Severity.WARNING) -> Finding:
    return Finding(code=code, title=title, outcome=Outcome.FAIL, severity=severity, message=message, hint=hint)
